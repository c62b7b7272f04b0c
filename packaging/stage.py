"""Lay out a package's Python tree from the lock: wheels for the target machine only, every digest checked.

    python packaging/stage.py --lock requirements/device.txt --machine arm64 --own WHEEL --into DIR
        [--built DIR] [--report FILE]

pip unpacks wheels and runs nothing of them, so a package for one machine can be laid out on another. Then every
compiled file is looked at: its machine, and that it wants no newer C library than Debian 12 has. `--built` is a
directory with wheels of what has no wheel on the index (`packaging/build-wheels`). `--report` gets pip's own
account of what it installed, for the bill of materials.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["StageError", "check_binaries", "lay_out", "split_lock"]

PYTHON = "3.11"
GLIBC = (2, 36)
"""Debian 12's."""
MACHINES = {"amd64": ("x86_64", 62), "arm64": ("aarch64", 183)}
"""Debian's name of a machine: Python's name, and e_machine in an ELF header."""
FROM_SOURCE = frozenset({"pyalsaaudio"})
"""What the index has as source only; `packaging/build-wheels` makes these wheels."""
LEFT_OUT = frozenset({"setuptools"})
"""colorzero names it and never imports it; it brings programs for Windows."""
_GLIBC = re.compile(rb"GLIBC_(\d+)\.(\d+)(?:\.\d+)?\0")
_PROGRAMS = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")


class StageError(Exception):
    """The tree cannot be made, or holds what must not be shipped."""


def split_lock(text: str) -> tuple[str, str]:
    """Split a lock file into what has wheels and what is built from source, each with its digests."""
    wheels: list[str] = []
    sources: list[str] = []
    for entry in re.split(r"\n(?=[a-zA-Z0-9])", text):
        name = re.split(r"[=<>\s;\[]", entry, maxsplit=1)[0].lower()
        if name in LEFT_OUT or not entry.strip() or entry.startswith("#"):
            continue
        (sources if name in FROM_SOURCE else wheels).append(entry)
    return "\n".join(wheels) + "\n", "\n".join(sources) + "\n" if sources else ""


def platforms(machine: str) -> list[str]:
    """Platform tags of wheels that run on Debian 12 on this machine, as pip wants them."""
    name = MACHINES[machine][0]
    newest = [f"--platform=manylinux_2_{minor}_{name}" for minor in range(GLIBC[1], 16, -1)]
    return [*newest, f"--platform=manylinux2014_{name}", f"--platform=linux_{name}"]


def lay_out(lock: Path, machine: str, own: list[Path], into: Path, report: Path | None) -> None:
    """Unpack the lock's wheels and our own into the directory `into`.

    Raises:
        StageError: pip could not; its own words are on standard error.
    """
    wheels, _ = split_lock(lock.read_text(encoding="utf-8"))
    part = into.parent / f"{into.name}.lock"
    part.write_text(wheels, encoding="utf-8")
    base = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    base += ["--root-user-action=ignore", "--no-deps", "--only-binary=:all:", f"--target={into}"]
    base += [f"--python-version={PYTHON}", "--implementation=cp", *platforms(machine)]
    locked = [*base, "--require-hashes", f"--requirement={part}"]
    if report:
        locked.append(f"--report={report}")
    commands = [locked, [*base, "--upgrade", *map(str, own)]] if own else [locked]
    for command in commands:
        if subprocess.run(command, check=False).returncode:
            raise StageError(f"pip could not lay out {lock.name} for {machine}; see its message above")
    part.unlink()
    prune(into)


def prune(tree: Path) -> None:
    """Take out what belongs to the machine that builds: programs, byte code, and where files came from."""
    for path in (tree / "bin", *tree.rglob("__pycache__")):
        shutil.rmtree(path, ignore_errors=True)
    for name in ("direct_url.json", "INSTALLER", "REQUESTED"):
        for path in tree.glob(f"*.dist-info/{name}"):
            path.unlink()
    dropped = ("../", "bin/", "__pycache__")
    for record in tree.glob("*.dist-info/RECORD"):
        lines = record.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if not line.startswith(dropped) and (tree / line.split(",")[0]).exists()]
        record.write_text("\n".join(sorted(kept)) + "\n", encoding="utf-8")
    for path in tree.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def check_binaries(tree: Path, machine: str) -> int:
    """Return how many compiled files there are, all for this machine and for Debian 12's C library.

    Raises:
        StageError: one is not.
    """
    count = 0
    for path in sorted(path for path in tree.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            head = file.read(20)
        if not head.startswith(_PROGRAMS):
            continue
        found = int.from_bytes(head[18:20], "little") if head.startswith(b"\x7fELF") else None
        if found != MACHINES[machine][1]:
            raise StageError(
                f"{path.relative_to(tree)}: expected a compiled file for {machine}, found "
                f"{'another kind of program' if found is None else f'ELF machine {found}'}; "
                "no such file may be in the package"
            )
        newest = max(((int(a), int(b)) for a, b in _GLIBC.findall(path.read_bytes())), default=(0, 0))
        if newest > GLIBC:
            raise StageError(f"{path.relative_to(tree)} wants glibc {newest}, Debian 12 has {GLIBC}")
        count += 1
    return count


def main() -> int:
    """Lay out and check; say how many compiled files there are."""
    parser = argparse.ArgumentParser(description="Lay out a package's Python tree from the lock.")
    parser.add_argument("--lock", type=Path, required=True)
    parser.add_argument("--machine", choices=sorted(MACHINES), required=True)
    parser.add_argument("--own", type=Path, required=True)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--built", type=Path)
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    built = sorted(options.built.glob("*.whl")) if options.built else []
    try:
        lay_out(options.lock, options.machine, [options.own, *built], options.into, options.report)
        count = check_binaries(options.into, options.machine)
    except StageError as error:
        print(f"stage: {error}", file=sys.stderr)
        return 1
    print(f"stage: {options.lock.name} for {options.machine}: {count} compiled files, all {options.machine}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
