"""The packages' files, without building them; and, in the long form, the scripts that try built packages."""

import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

from device.config import load_config
from device.controls.config import ControlsConfig

TOP = Path(__file__).parents[2]
PACKAGING = TOP / "packaging"
TRIES = ["try-services", "try-pages", "try-device"]
SCRIPTS = ["build-deb", "build-wheels", "core-tests", "make-root", "tools", "try-short", *TRIES]
NOT_HERE = 77


def paragraphs() -> dict[str, dict[str, str]]:
    found = {}
    for text in (PACKAGING / "debian/control").read_text().split("\n\n")[1:]:
        fields = dict(line.split(": ", 1) for line in text.splitlines() if re.match(r"[A-Z][\w-]*: ", line))
        found[fields["Package"]] = fields
    return found


def test_a_machine_is_a_camera_or_a_dock_and_has_the_python_of_the_wheels() -> None:
    control = paragraphs()
    assert control["preroll-device"]["Conflicts"] == "preroll-dock"
    assert control["preroll-dock"]["Conflicts"] == "preroll-device"
    for fields in control.values():
        assert "python3 (>= 3.11), python3 (<< 3.12)" in fields["Depends"]


@pytest.mark.parametrize("path", sorted((PACKAGING / "debian").glob("preroll-*.*")), ids=lambda path: path.name)
def test_no_maintainer_script_deletes_anything(path: Path) -> None:
    code = "\n".join(
        line for line in path.read_text().splitlines() if not line.lstrip().startswith(("#", "echo"))
    )
    assert "set -e" in code
    assert "#DEBHELPER#" in path.read_text()
    for word in ("rm ", "rmdir", "unlink", "userdel", "deluser", "find ", "mkfs", "/var/lib", "/srv"):
        assert word not in code


def test_the_configuration_that_a_camera_comes_with_is_good() -> None:
    config = load_config(PACKAGING / "device.toml")
    assert config.dockport.enabled
    assert Path(config.device.vault).is_relative_to("/var/lib/preroll")
    assert Path(config.device.keys).is_relative_to("/var/lib/preroll")


def test_every_file_that_a_package_takes_is_there(tmp_path: Path) -> None:
    for role in ("device", "dock"):
        build = tmp_path / role
        shutil.copytree(PACKAGING / "debian", build / "debian")
        subprocess.run([PACKAGING / "debian-files", role, TOP, build], check=True)
        taken = (build / "debian" / f"preroll-{role}.install").read_text().splitlines()
        for pattern, _ in (line.split() for line in taken):
            made_later = pattern in {"python", f"preroll-{role}.cdx.json"}
            assert made_later or list(build.glob(pattern)), pattern


def test_the_picture_of_the_wiring_is_as_drawn_and_has_the_default_pins(tmp_path: Path) -> None:
    drawing = runpy.run_path(str(TOP / "scripts/draw-wiring"))
    assert (TOP / "docs/images/wiring.svg").read_text(encoding="utf-8") == drawing["draw"]()
    at = {name: {drawing["NAMES"][pin - 1] for pin in pins} for name, _, _, pins in drawing["PARTS"]}
    controls = ControlsConfig()
    assert f"GPIO{controls.button.pin}" in at["record button"]
    drawn = set().union(*at.values())
    assert {f"GPIO{pin}" for pin in controls.lights.pins} <= drawn
    page = (TOP / "docs/install-device.md").read_text(encoding="utf-8")
    for name, pins in at.items():
        for pin in pins - {"GND", "3V3", "5V"}:
            assert pin in page, name


@pytest.mark.parametrize("role", ["device", "dock"])
def test_what_a_page_tells_to_run_is_in_the_package_or_in_debian(role: str) -> None:
    page = (TOP / f"docs/install-{role}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    shell = subprocess.run(
        ["/bin/sh", "-n"], input="\n".join(blocks), text=True, capture_output=True, check=False
    )
    assert (shell.returncode, shell.stderr) == (0, "")
    for name in re.findall(r"/usr/share/preroll/dropins/(\S+)", page):
        assert (TOP / "systemd/dropins" / name).is_file()
    for name in re.findall(rf"/usr/share/doc/preroll-{role}/examples/(\S+)", page):
        assert (TOP / "docs/examples" / name).is_file()


def test_the_overlay_on_the_root_leaves_the_vault_alone() -> None:
    page = (TOP / "docs/install-device.md").read_text(encoding="utf-8")
    assert page.index("enable_overlayfs") < page.index("overlayroot=tmpfs:recurse=0")


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_shell_and_executable(name: str) -> None:
    path = PACKAGING / name
    assert path.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0


@pytest.mark.parametrize("arguments", [["--out"], ["nothing"], ["--sign", "/none", "dock-amd64"]], ids=" ".join)
def test_wrong_usage_of_the_builder_is_refused(arguments: list[str]) -> None:
    done = subprocess.run([PACKAGING / "build-deb", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr


@pytest.mark.long
@pytest.mark.parametrize("script", TRIES)
def test_built_packages_work_where_they_can_be_tried(script: str) -> None:
    if not list((TOP / "build/deb").glob("preroll-device_*_arm64.deb")):
        pytest.skip("no packages in build/deb; `make try-packages` builds and tries them")
    done = subprocess.run([PACKAGING / script], capture_output=True, text=True, check=False)
    if done.returncode == NOT_HERE:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stderr[-2000:]
