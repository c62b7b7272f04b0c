"""Rate of `preroll clip decrypt` beside Debian's `age -d`, in one call.

    python -m bench.decrypt_rate [--mebibytes 512] [--seconds 30]

Both decrypt the same file with the same identity, round robin, from the page cache, to /dev/null and to a file
in memory; the median of each side counts. A row is a whole process with its start: wall time, and CPU time
(user and system) of the child. The row `in process` leaves out the start of Python. Ratios hold on a processor
of the same kind.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from bench.report import Goal, Section, Table, spread, text
from bench.rig import compiled
from evidence.age import AgeWriter, decrypt_file, generate_identity, identity_file_text, parse_identities

__all__ = ["Run", "decrypt_bench", "decrypt_runs", "make_age_file", "peer_runs"]

_MIB = 1 << 20
_SHARED_MEMORY = Path("/dev/shm")  # a file without a disk


class Run(msgspec.Struct, frozen=True):
    """Seconds of one decryption."""

    wall_s: float
    cpu_s: float


Runs = dict[str, Callable[[], Run]]
OURS, PEER, INSIDE = "preroll clip decrypt", "age -d", "in process"


def make_age_file(directory: Path, mebibytes: int) -> tuple[Path, Path]:
    """Encrypt random bytes to a fresh identity; returns the file and the identity's."""
    identity = generate_identity()
    key = directory / "identity.txt"
    key.write_text(identity_file_text(identity, created_utc="2026-01-01T00:00:00Z"), encoding="utf-8")
    encrypted = directory / "clip.mp4.age"
    with encrypted.open("wb") as file:
        writer = AgeWriter([identity.recipient()], file.write)
        for _ in range(mebibytes):
            writer.write(os.urandom(_MIB))
        writer.close()
    return encrypted, key


def decrypt_runs(encrypted: Path, key: Path, target: Path) -> Runs:
    """Return what is compared by name: the command, and the same without its start."""
    start = "import sys; from preroll.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "clip", "decrypt", "-i", str(key), "-o", str(target)]
    identities = parse_identities(key.read_text("utf-8"))
    environment = compiled(encrypted.parent)

    def inside() -> None:
        with encrypted.open("rb") as source, target.open("wb") as plain:
            decrypt_file(source, plain, identities)

    return {
        OURS: lambda: _child([*command, str(encrypted)], environment),
        INSIDE: lambda: _timed(inside, resource.RUSAGE_SELF),
    }


def peer_runs(encrypted: Path, key: Path, target: Path) -> Runs:
    """Return `age -d` if it is installed."""
    age = shutil.which("age")
    if age is None:
        return {}
    return {PEER: lambda: _child([age, "-d", "-i", str(key), "-o", str(target), str(encrypted)])}


def decrypt_bench(*, seconds: float = 60, mebibytes: int = 512) -> Section:
    """Measure both targets for about that long, three rounds at least."""
    tables, ratios = [], {}
    with tempfile.TemporaryDirectory(dir=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None) as folder:
        encrypted, key = make_age_file(Path(folder), mebibytes)
        for target in (Path(os.devnull), Path(folder) / "plain"):
            runs = {**peer_runs(encrypted, key, target), **decrypt_runs(encrypted, key, target)}
            runs[OURS]()  # compiles
            found = _rounds(runs, seconds / 2)
            _check(target, mebibytes * _MIB)
            where = "/dev/null" if target.name == "null" else "a file in memory"
            tables.append(_table(f"{mebibytes} MiB to {where}", found, mebibytes * _MIB))
            ratios[where] = {name: _ratio(found, name) for name in (OURS, INSIDE)}
    return Section(
        name="decrypt",
        title="Decryption beside `age -d`",
        method=(
            "Whole processes with their start, the same file from the page cache, interleaved; Python modules "
            "are compiled, as a package installs them."
        ),
        tables=tuple(tables),
        goals=tuple(goal for where, each in ratios.items() for goal in _goals(where, each[OURS], each[INSIDE])),
        notes=("`in process` is the same without the start of Python and the command line.",),
    )


def _check(target: Path, size_bytes: int) -> None:
    if target.is_file() and target.stat().st_size != size_bytes:
        sys.exit(f"decryption wrote {target.stat().st_size} bytes of {size_bytes}")


def _rounds(runs: Runs, seconds: float) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {name: [] for name in runs}
    begin, count = time.monotonic(), 0
    while count < 3 or time.monotonic() - begin < seconds:
        for name, run in runs.items():
            found[name].append(run())
        count += 1
    return found


def _ratio(found: Mapping[str, list[Run]], name: str) -> float | None:
    """Return how many times the peer's rate a side has, by wall time."""
    if PEER not in found:
        return None
    return _median(found[PEER]) / _median(found[name])


def _median(runs: list[Run]) -> float:
    return statistics.median(each.wall_s for each in runs)


def _table(caption: str, found: Mapping[str, list[Run]], size_bytes: int) -> Table:
    rows = []
    for name, runs in found.items():
        ratio = _ratio(found, name)
        rows.append(
            (
                name,
                spread([size_bytes / each.wall_s / 1e6 for each in runs], 0),
                spread([each.cpu_s / size_bytes * (1 << 30) for each in runs]),
                "" if ratio is None else f"{ratio:.2f}",
            )
        )
    if PEER not in found:
        rows.append((f"{PEER} (not installed)", "", "", ""))
    return Table(caption, ("", "MB/s", "CPU s/GiB", "rate of age -d"), tuple(rows))


def _goals(where: str, ratio: float | None, inside: float | None) -> tuple[Goal, ...]:
    if ratio is None or inside is None:
        return ()
    goal = Goal(
        what=f"decrypt to {where}",
        goal="at least the rate of age -d",
        found=f"{ratio:.2f} times",
        met=ratio >= 1,
        reason=(
            f"The same work in a process that runs already has {inside:.2f} times the rate: what is missing "
            "goes into the start of Python, which a larger file outweighs."
            if inside >= 1
            else ""
        ),
    )
    return (goal,)


def _child(command: list[str], environment: dict[str, str] | None = None) -> Run:
    return _timed(
        lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment),
        resource.RUSAGE_CHILDREN,
    )


def _timed(run: Callable[[], object], who: int) -> Run:
    before, begin = resource.getrusage(who), time.perf_counter()
    run()
    wall_s, after = time.perf_counter() - begin, resource.getrusage(who)
    return Run(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mebibytes", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    print(text(decrypt_bench(seconds=arguments.seconds, mebibytes=arguments.mebibytes)))


if __name__ == "__main__":
    main()
