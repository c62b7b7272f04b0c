"""Units and their companions: systemd judges them, offline; what is left open is explained in the unit."""

import configparser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNITS = ("preroll-device.service", "preroll-dock.service", "preroll-gadget.service")
BOUNDS = {"preroll-device.service": 3.0, "preroll-dock.service": 2.0}
STOCK = Path("/usr/lib/systemd/system")
_RULE = re.compile(
    r'(SUBSYSTEM|KERNEL|ENV\{\w+\}|ATTR\{\w+\})=="[^"]*"|(GROUP|MODE|ENV\{\w+\})="[^"]*"|TAG\+="systemd"'
)

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or not STOCK.is_dir(), reason="systemd is not installed here"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root directory with systemd's own units, ours, and programs in the places that ours name."""
    units = tmp_path / "usr/lib/systemd/system"
    shutil.copytree(STOCK, units, symlinks=True)
    for name in UNITS:
        shutil.copy(SYSTEMD / name, units)
    for program in ("usr/bin/preroll", "usr/lib/preroll/usb-gadget"):
        path = tmp_path / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return tmp_path


def verify(root: Path) -> "subprocess.CompletedProcess[str]":
    command = ["systemd-analyze", "verify", f"--root={root}", "--man=no", "--recursive-errors=no", *UNITS]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_systemd
def test_the_units_verify(root: Path) -> None:
    done = verify(root)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_verify_would_notice_a_misspelt_key(root: Path) -> None:
    unit = root / "usr/lib/systemd/system/preroll-dock.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchDog="))
    assert "WatchDog" in verify(root).stderr


def security(unit: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", *options, str(unit)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_systemd
@pytest.mark.parametrize("name", BOUNDS)
def test_the_exposure_is_within_its_bound_and_explained(name: str) -> None:
    unit = SYSTEMD / name
    overall = re.search(r"exposure level for \S+: ([0-9.]+)", security(unit).stdout)
    assert overall
    assert float(overall[1]) <= BOUNDS[name]
    blocks = re.findall(r"(?:^#.*\n)+", unit.read_text(), re.MULTILINE)[1:]  # the first is the head of the file
    said = " ".join(block for block in blocks if "xposure" in block)
    for item in json.loads(security(unit, "--json=short").stdout):
        if item["set"] or not item["exposure"] or float(item["exposure"]) == 0:
            continue
        option, _, part = item["name"].partition("=~")
        words = [word for word in re.split(r"[^A-Za-z_0-9@]+", part or option) if word]
        assert any(word in said for word in words), f"nothing explains {item['name']}"


@pytest.mark.parametrize("name", BOUNDS)
def test_what_the_watchdog_and_restarts_rest_on(name: str) -> None:
    text = (SYSTEMD / name).read_text()
    lines = "Type=notify Restart=always StartLimitIntervalSec=0 LimitCORE=0 DevicePolicy=closed"
    for line in lines.split():
        assert f"\n{line}\n" in text
    assert int(re.findall(r"^WatchdogSec=(\d+)$", text, re.MULTILINE)[0]) >= 30
    assert re.findall(r"^CapabilityBoundingSet=(.*)$", text, re.MULTILINE) == [""]


def test_lights_are_set_before_the_camera_starts_and_after_it_ends() -> None:
    text = (SYSTEMD / "preroll-device.service").read_text()
    for when in ("ExecStartPre", "ExecStopPost"):
        assert f"{when}=-/usr/bin/preroll device lights fault --config /etc/preroll/device.toml\n" in text
    assert "LimitMEMLOCK=infinity\n" in text


@pytest.mark.parametrize("path", sorted(SYSTEMD.glob("*.rules")), ids=lambda path: path.name)
def test_every_udev_rule_is_well_formed(path: Path) -> None:
    rules = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert rules
    for rule in rules:
        for part in rule.split(", "):
            assert _RULE.fullmatch(part), part


def test_modem_manager_stays_off_the_docks_ports() -> None:
    assert 'ENV{ID_MM_DEVICE_IGNORE}="1"' in (SYSTEMD / "70-preroll-dock.rules").read_text()


@pytest.mark.parametrize("name", ["device", "dock"])
def test_the_units_user_is_the_one_that_sysusers_makes(name: str, tmp_path: Path) -> None:
    unit = (SYSTEMD / f"preroll-{name}.service").read_text()
    user = f"preroll-{name}"
    groups = next(line for line in unit.splitlines() if line.startswith("SupplementaryGroups=")).partition("=")
    text = (SYSTEMD / f"preroll-{name}.sysusers").read_text()
    assert f"\nUser={user}\n" in unit
    for group in groups[2].split():
        assert f"m {user} {group}\n" in text
    if shutil.which("systemd-sysusers") is None:
        return
    command = ["systemd-sysusers", f"--root={tmp_path}", str(SYSTEMD / f"preroll-{name}.sysusers")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:  # it wants root even for a directory of ours
        assert f"\n{user}:" in "\n" + (tmp_path / "etc/passwd").read_text()


@pytest.mark.parametrize("path", sorted((SYSTEMD / "dropins").glob("*.conf")), ids=lambda path: path.name)
def test_every_drop_in_says_where_it_goes(path: Path) -> None:
    text = path.read_text()
    parser = configparser.ConfigParser(strict=False)
    parser.read_string(text)
    assert parser.sections()
    assert re.search(r"/etc/systemd/\S+\.conf\b", text)


@needs_systemd
def test_the_network_drop_in_verifies_too(root: Path) -> None:
    place = root / "etc/systemd/system/preroll-device.service.d"
    place.mkdir(parents=True)
    shutil.copy(SYSTEMD / "dropins/device-network.conf", place / "network.conf")
    done = verify(root)
    assert (done.returncode, done.stderr) == (0, "")


class TestGadget:
    """The script, on a directory that looks like configfs."""

    @pytest.fixture
    def environment(self, tmp_path: Path) -> dict[str, str]:
        (tmp_path / "configfs/usb_gadget").mkdir(parents=True)
        (tmp_path / "udc/fe980000.usb").mkdir(parents=True)
        (tmp_path / "serial").write_bytes(b"100000003d1a2b4c\0")
        return {
            "PATH": "/usr/bin:/bin",
            "PREROLL_CONFIGFS": str(tmp_path / "configfs"),
            "PREROLL_UDC": str(tmp_path / "udc"),
            "PREROLL_SERIAL": str(tmp_path / "serial"),
        }

    def run(self, environment: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
        command = [str(SYSTEMD / "usb-gadget"), *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def test_up_makes_a_serial_line_and_a_network(self, environment: dict[str, str]) -> None:
        done = self.run(environment, "up")
        assert (done.returncode, done.stderr) == (0, "")
        gadget = Path(environment["PREROLL_CONFIGFS"]) / "usb_gadget/preroll"
        assert (gadget / "UDC").read_text() == "fe980000.usb\n"
        assert (gadget / "strings/0x409/serialnumber").read_text() == "100000003d1a2b4c"
        assert {path.name for path in (gadget / "configs/c.1").iterdir() if path.is_symlink()} == {
            "acm.0",
            "ncm.0",
        }
        addresses = {(gadget / "functions/ncm.0" / name).read_text() for name in ("dev_addr", "host_addr")}
        assert len(addresses) == 2
        assert all(re.fullmatch(r"02(:[0-9a-f]{2}){5}\n?", address) for address in addresses)

    def test_without_a_controller_it_says_what_is_missing(self, environment: dict[str, str]) -> None:
        Path(environment["PREROLL_UDC"], "fe980000.usb").rmdir()
        done = self.run(environment, "up")
        assert done.returncode == 1
        assert "dwc2" in done.stderr

    def test_other_words_are_refused(self, environment: dict[str, str]) -> None:
        assert self.run(environment, "sideways").returncode == 2
        assert self.run(environment, "down").returncode == 0
