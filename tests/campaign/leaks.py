"""Looking for plaintext in every file that a process opened for writing, and in all that is new elsewhere."""

import base64
import mmap
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

__all__ = [
    "Writes",
    "find_canary",
    "new_files",
    "read_trace",
    "spellings",
    "temporary_directory",
    "trace",
    "tracer",
]

_CALLS = (
    "open",
    "openat",
    "openat2",
    "creat",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "memfd_create",
    "mknod",
    "mknodat",
)
_WRITING = re.compile(r"\bO_(WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE)\b")
_OPENED = re.compile(r"^(?:open|openat|openat2|creat)\((?P<arguments>.*)\)\s+= \d+<(?P<path>[^>]+)>")
_RENAMED = re.compile(
    r'^rename(?:at2?)?\((?:[^"]*<(?P<old_at>[^>]+)>, )?"(?P<old>[^"]+)", '
    r'(?:[^"]*<(?P<new_at>[^>]+)>, )?"(?P<new>[^"]+)".*= 0$'
)
_OTHER = re.compile(r"^(memfd_create|mknod|mknodat|link|linkat)\(.*= \d+")
_NO_FILES = ("/dev/null", "/dev/tty", "pipe:", "socket:", "anon_inode:")


class Writes(msgspec.Struct, frozen=True):
    """What a traced process opened for writing.

    `files` are where those files are now; `vanished` those that are nowhere any more, so that nobody can look
    into them; `hidden` other ways to bytes without a name, as the trace has them.
    """

    files: frozenset[Path]
    vanished: frozenset[Path]
    hidden: tuple[str, ...]


def tracer() -> str | None:
    """Return strace, or `None` where it is not installed or may not trace."""
    found = shutil.which("strace")
    if found is None:
        return None
    tried = subprocess.run([found, "-f", "-qq", "-o", os.devnull, "true"], check=False, capture_output=True)
    return found if tried.returncode == 0 else None


def trace(
    command: Sequence[str], directory: Path, cwd: Path
) -> tuple[subprocess.CompletedProcess[bytes], Writes]:
    """Run a command to its end; return how it ended, and what it and all its threads opened for writing."""
    strace = tracer()
    assert strace is not None
    # One file a thread: no call is split into two lines by those of another thread.
    directory.mkdir()
    options = ["-ff", "--seccomp-bpf", "-y", "-qq", "-s", "4096", "-e", f"trace={','.join(_CALLS)}"]
    options += ["-e", "signal=none", "-o", str(directory / "thread")]
    ended = subprocess.run([strace, *options, *command], cwd=cwd, check=False, capture_output=True)
    lines = [line for path in sorted(directory.iterdir()) for line in path.read_text().splitlines()]
    return ended, read_trace(lines, cwd)


def read_trace(lines: Iterable[str], cwd: Path) -> Writes:
    """Read the lines of a trace made by `trace`."""
    opened: set[Path] = set()
    moved: dict[Path, Path] = {}
    hidden: list[str] = []
    for line in lines:
        if (match := _OPENED.match(line)) and (line.startswith("creat") or _WRITING.search(match["arguments"])):
            path = match["path"]
            if path.endswith(" (deleted)") or "O_TMPFILE" in match["arguments"]:
                hidden.append(line)
            elif not path.startswith(_NO_FILES):
                opened.add(Path(path))
        elif match := _RENAMED.match(line):
            moved[cwd / (match["old_at"] or "") / match["old"]] = cwd / (match["new_at"] or "") / match["new"]
        elif _OTHER.match(line):
            hidden.append(line)
    now = {path: _follow(path, moved) for path in opened}
    files = frozenset(path for path in now.values() if path.exists())
    vanished = frozenset(path for path, place in now.items() if not place.exists())
    return Writes(files, vanished, tuple(hidden))


def _follow(path: Path, moved: dict[Path, Path]) -> Path:
    """Say where a file is now: it, or a directory above it, may have been renamed."""
    for _ in range(len(moved) + 1):
        for place in (path, *path.parents):
            if place in moved and not path.exists():
                path = moved[place] / path.relative_to(place)
                break
        else:
            return path
    return path


def new_files(directory: Path, since_ns: int) -> Iterator[Path]:
    """Give every regular file below a directory, on its file system, changed since a time of the wall clock."""
    device = directory.stat().st_dev
    for parent, names, files in os.walk(directory):
        names[:] = [name for name in names if (facts := _facts(Path(parent, name))) and facts.st_dev == device]
        for path in (Path(parent, name) for name in files):
            facts = _facts(path)
            if facts and stat.S_ISREG(facts.st_mode) and facts.st_ctime_ns >= since_ns:
                yield path


def _facts(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, PermissionError):
        return None  # another process's: gone by now, or not ours to read


def spellings(canary: bytes) -> tuple[bytes, ...]:
    """Return a canary as it is, in hexadecimal, and in base64 at each of its three alignments."""
    inner = [base64.b64encode(bytes(shift) + canary)[4 if shift else 0 : -4] for shift in range(3)]
    return (canary, canary.hex().encode(), canary.hex().upper().encode(), *inner)


def find_canary(paths: Iterable[Path], canary: bytes) -> list[Path]:
    """Return the files that hold a canary in any spelling."""
    wanted = spellings(canary)
    found = []
    for path in paths:
        try:
            with path.open("rb") as file:
                if not os.fstat(file.fileno()).st_size:
                    continue
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    if any(data.find(spelling) >= 0 for spelling in wanted):
                        found.append(path)
        except (FileNotFoundError, PermissionError):
            continue  # another process's: ours are there, and ours to read
    return found


def temporary_directory() -> Path:
    """Return where this machine puts temporary files."""
    return Path(tempfile.gettempdir())
