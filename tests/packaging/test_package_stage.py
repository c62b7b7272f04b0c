"""What may lie in a package: the lock's wheels for its machine, and nothing of the machine that builds."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOP = Path(__file__).parents[2]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"preroll_packaging_{name}", TOP / "packaging" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


stage = load("stage")
ARM, AMD = 183, 62


def elf(machine: int, glibc: str = "2.17") -> bytes:
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + (3).to_bytes(2, "little") + machine.to_bytes(2, "little")
    return head + bytes(100) + b"\0GLIBC_" + glibc.encode() + b"\0"


@pytest.mark.parametrize(("machine", "number"), [("arm64", ARM), ("amd64", AMD)])
def test_compiled_files_for_the_machine_are_counted(machine: str, number: int, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a.so").write_bytes(elf(number))
    (tmp_path / "b.so").write_bytes(elf(number, "2.36"))
    (tmp_path / "c.py").write_text("x = 1\n")
    assert stage.check_binaries(tmp_path, machine) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (elf(AMD), "expected a compiled file for arm64, found ELF machine 62"),
        (b"MZ" + bytes(64), "found another kind of program"),
        (b"\xcf\xfa\xed\xfe" + bytes(64), "found another kind of program"),
        (elf(ARM, "2.38"), "wants glibc (2, 38)"),
    ],
    ids=["other-machine", "windows", "macos", "newer-glibc"],
)
def test_what_must_not_be_shipped_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "evil.so").write_bytes(content)
    with pytest.raises(stage.StageError, match=re.escape(words)) as caught:
        stage.check_binaries(tmp_path, "arm64")
    assert "evil.so" in str(caught.value)


def test_nothing_of_the_building_machine_stays(tmp_path: Path) -> None:
    info = tmp_path / "thing-1.0.dist-info"
    for folder in ("bin", "thing/__pycache__", info.name):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bin" / "thing").write_text("#!/home/me/python\n")
    (tmp_path / "thing" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (tmp_path / "thing" / "x.py").write_text("x = 1\n")
    for name in ("direct_url.json", "INSTALLER", "REQUESTED", "METADATA"):
        (info / name).write_text("file:///home/me\n")
    record = [
        "thing/x.py,,",
        "bin/thing,,",
        "../../bin/thing,,",
        f"{info.name}/direct_url.json,,",
        f"{info.name}/METADATA,,",
    ]
    (info / "RECORD").write_text("\n".join(record) + "\n")
    stage.prune(tmp_path)
    kept = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert kept == [f"{info.name}/METADATA", f"{info.name}/RECORD", "thing/x.py"]
    assert (info / "RECORD").read_text().splitlines() == [f"{info.name}/METADATA,,", "thing/x.py,,"]
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.rglob("*") if path.is_file()} == {"0o644"}


def versions(name: str) -> dict[str, set[str]]:
    text = (TOP / "requirements" / f"{name}.txt").read_text()
    found: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


@pytest.mark.parametrize("name", ["device", "dock"])
def test_packages_carry_the_versions_that_the_tests_ran_with(name: str) -> None:
    tested = versions("test")
    for package, carried in versions(name).items():
        if package in tested:
            assert carried <= tested[package], package


def test_the_lock_is_split_into_wheels_and_sources_and_nothing_is_lost() -> None:
    text = (TOP / "requirements" / "device.txt").read_text()
    wheels, sources = stage.split_lock(text)
    names = re.compile(r"^([\w.-]+)==", re.MULTILINE)
    assert set(names.findall(sources)) == stage.FROM_SOURCE
    assert {*names.findall(wheels), *stage.FROM_SOURCE, *stage.LEFT_OUT} == set(names.findall(text))
    assert wheels.count("--hash=") + sources.count("--hash=") > 50


def test_platform_tags_go_up_to_debian_12s_c_library_and_no_further() -> None:
    tags = stage.platforms("arm64")
    assert "--platform=manylinux_2_36_aarch64" in tags
    assert "--platform=manylinux_2_17_aarch64" in tags
    assert not [tag for tag in tags if "x86" in tag or "2_37" in tag or "2_39" in tag]
