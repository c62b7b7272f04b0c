"""A hundred wrong configurations and more: each one clear line, and nothing of it is put to use."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from device.config import ConfigError as DeviceConfigError
from device.config import DeviceConfig
from device.config import parse_config as parse_device
from evidence.errors import ExplainedError
from host.config import ConfigError as DockConfigError
from host.config import DockConfig
from host.config import parse_config as parse_dock
from preroll.cli import root as command
from preroll.exits import Exit

RECIPIENT = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
DEVICE = f'[device]\nid = "cam1"\n[policy]\nrecipients = ["{RECIPIENT}"]\n'
DOCK = '[dock]\nid = "dock7"\n[store]\npath = "s"\nid = "s-1"\n'
_WRONG: dict[str, tuple[str, ...]] = {
    "int": ('"7"', "7.5", "[7]", "-99999999", "true"),
    "float": ('"7"', "[7.0]", "-99999999.0", "true"),
    "str": ("7", "[]", "true"),
    "bool": ('"yes"', "1"),
}


def plain_keys(kind: Any) -> list[tuple[str, str, str]]:
    """Return table, key and type of every plain key in the tables of a file."""
    found = []
    for table in msgspec.structs.fields(kind):
        inner = msgspec.inspect.type_info(table.type)
        if isinstance(inner, msgspec.inspect.StructType):
            for field in inner.fields:
                name = type(field.type).__name__.removesuffix("Type").lower()
                if name in _WRONG:
                    found.append((table.name, field.encode_name, name))
    return found


def generated() -> list[tuple[str, str, str]]:
    """Return file, text and the key that the error has to name."""
    cases = []
    for which, kind, good in (("device", DeviceConfig, DEVICE), ("dock", DockConfig, DOCK)):
        for table, key, name in plain_keys(kind):
            for value in _WRONG[name]:
                rest = re.sub(rf"(\[{table}\]\n(?:\w.*\n)*?){key} = .*\n", r"\1", good)
                header = f"[{table}]"
                line = f"{key} = {value}"
                text = (
                    rest.replace(header, f"{header}\n{line}") if header in rest else f"{rest}\n{header}\n{line}"
                )
                cases.append((which, text + "\n", f"{table}.{key}"))
        for table in {table for table, _, _ in plain_keys(kind)}:
            header = f"[{table}]"
            text = good if header in good else f"{good}{header}\n"
            cases.append((which, text.replace(header, f"{header}\nspeling = 1"), f"{table}.speling"))
    random.Random(6).shuffle(cases)
    return sorted(cases[:240])


HAND_PICKED = [
    ("device", "", "device"),
    ("device", "[device]\n", "device.id"),
    ("device", "[device\n", "TOML"),
    ("device", DEVICE + "[device]\n", "TOML"),
    ("device", DEVICE + '[camera]\nsource = "webcam"\n', "camera.source"),
    ("device", DEVICE + '[camera]\nsource = "replay:"\n', "camera.source"),
    ("device", DEVICE + '[camera]\nwidth = "1080p"\n', "camera.width"),
    ("device", DEVICE + '[sound]\nmicrophone = "usb"\n', "sound.microphone"),
    ("device", DEVICE + '[dockport]\nlisten = "7447"\n', "dockport.listen"),
    ("device", DEVICE + "[controls.button]\npin = 99\n", "controls.button.pin"),
    ("device", DEVICE + "[controls.button]\npin = 22\n", "GPIO22"),
    (
        "device",
        DEVICE + '[[controls.triggers]]\nname = "a"\npin = 5\n[[controls.triggers]]\nname = "a"\npin = 6\n',
        "a",
    ),
    ("device", DEVICE + "[health]\nbattery_low_percent = 2\n", "battery_critical_percent"),
    ("device", DEVICE + "[health]\ntemperature_high_c = 999.0\n", "health.temperature_high_c"),
    ("device", '[device]\nid = "CAM 1"\n', "device.id"),
    ("device", '[device]\nid = "cam1"\n[policy]\nwindow_s = "30 s"\n', "policy.window_s"),
    ("dock", "", "dock"),
    ("dock", '[dock]\nid = "d"\n', "store"),
    ("dock", DOCK + '[[bay]]\nname = "1"\n', "bay"),
    ("dock", DOCK + '[[bay]]\nname = "1"\ntcp = "nowhere"\n', "HOST:PORT"),
    ("dock", DOCK + '[[bay]]\nname = "1"\nserial = "/dev/a"\nusb = "b"\n', "one of tcp, serial and usb"),
    (
        "dock",
        DOCK + '[[bay]]\nname = "1"\nserial = "/dev/a"\n[[bay]]\nname = "1"\nserial = "/dev/b"\n',
        "twice",
    ),
    ("dock", DOCK + "[limits]\noffloads = 0\n", "limits.offloads"),
    ("dock", DOCK + "[timeouts]\nlook_s = 0\n", "timeouts.look_s"),
]
CASES = [*generated(), *HAND_PICKED]
_PARSE: dict[str, tuple[Callable[[str, str], object], type[ExplainedError]]] = {
    "device": (parse_device, DeviceConfigError),
    "dock": (parse_dock, DockConfigError),
}


def test_there_are_more_than_a_hundred() -> None:
    assert len(CASES) > 100
    parse_device(DEVICE, "device.toml")
    parse_dock(DOCK, "dock.toml")


@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_wrong_configuration_is_one_line_with_file_key_expected_and_found(case: int) -> None:
    which, text, key = CASES[case]
    parse, kind = _PARSE[which]
    with pytest.raises(kind) as caught:
        parse(text, f"{which}.toml")
    said = str(caught.value)
    assert said.startswith(f"{which}.toml")
    assert "\n" not in said
    assert key in said
    assert "$" not in said.replace("$`", "").replace("$|", "").replace(")$", "")
    assert "msgspec" not in said
    if case < len(CASES) - len(HAND_PICKED):
        line = re.search(r", line (\d+): ", said)
        assert line, said
        assert key.rpartition(".")[2] in text.splitlines()[int(line[1]) - 1]
        assert caught.value.expected
        assert caught.value.found


@pytest.mark.parametrize("case", range(0, len(CASES), 20))
@pytest.mark.parametrize("words", [("config", "check"), ("run",)], ids=["check", "run"])
def test_no_command_goes_on_with_one(case: int, words: tuple[str, ...], tmp_path: Path) -> None:
    which, text, _ = CASES[case]
    file = tmp_path / f"{which}.toml"
    file.write_text(text)
    if words == ("config", "check"):
        line = ["config", "check", str(file)]
    elif which == "dock":
        line = ["dock", "status", "--config", str(file)]
    else:
        line = ["device", "selftest", "--config", str(file)]
    done = CliRunner().invoke(command, line)
    assert isinstance(done.exception, ExplainedError), done.output
    assert type(done.exception).__name__ == "ConfigError"
    assert list(tmp_path.iterdir()) == [file]


def test_check_knows_both_kinds_of_file(tmp_path: Path) -> None:
    for name, text in (("device.toml", DEVICE), ("dock.toml", DOCK)):
        file = tmp_path / name
        file.write_text(text)
        done = CliRunner().invoke(command, ["config", "check", str(file)])
        assert done.exit_code == Exit.DONE
        assert "good" in done.output


_SHIPPED = Path(__file__).parents[2] / "packaging/device.toml"


def check_shipped(directory: Path, text: str) -> Result:
    """Check a camera's configuration as the package brings it, with its keys in the directory."""
    file = directory / "device.toml"
    assert "/var/lib/preroll/" in text
    file.write_text(text.replace("/var/lib/preroll/", ""))
    return CliRunner().invoke(command, ["config", "check", str(file)])


def test_the_configuration_of_the_package_is_good_and_says_who_makes_the_keys(tmp_path: Path) -> None:
    done = check_shipped(tmp_path, _SHIPPED.read_text())
    assert done.exit_code == Exit.DONE
    assert "records nothing until a dock has enrolled it (`preroll dock enrol`)" in done.output


def test_keys_without_anybody_to_encrypt_to_are_no_camera_that_waits(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/evidence.key").touch()
    done = check_shipped(tmp_path, _SHIPPED.read_text().replace("[device]", '[device]\nid = "cam1"'))
    assert isinstance(done.exception, ExplainedError)
    assert "recipients.txt" in str(done.exception)


def test_what_may_be_a_secret_is_not_repeated() -> None:
    secret = "AGE-SECRET-KEY-1GFPYYSJZG"
    with pytest.raises(DeviceConfigError) as caught:
        parse_device(f'[device]\nid = "cam1"\n[policy]\nrecipients = "{secret}"\n', "device.toml")
    assert secret not in str(caught.value)
    assert "policy.recipients" in str(caught.value)
