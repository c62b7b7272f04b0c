"""The whole write path without the processor's AES and SHA instructions, as on a core that has none.

    python -m bench.plain_core --once FOOTAGE SECONDS

`OPENSSL_ia32cap` hides instructions from OpenSSL, both the one below `hashlib` and the one in `cryptography`;
it is read when OpenSSL is loaded, so each run is a process of its own.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import cast

from bench.cpu import cipher_cpu, hash_cpu, write_cpu
from bench.footage import NS_PER_S, FrameStream, load_sound, load_units
from bench.report import Bar, Goal, Plot, Section, Table, spread
from bench.rig import Rig, scratch

__all__ = ["MASKS", "main", "plain_core_bench", "run_once"]

_GOAL = 20.0
_CLIP_S = 20
_RATE = 30
# Bits of CPUID as OPENSSL_ia32cap(3) counts them: AES-NI 57, PCLMULQDQ 33, AVX 60; in the second word SHA 29,
# AVX2 5, AVX512F 16, AVX512BW 30, AVX512VL 31, VAES 41, VPCLMULQDQ 42.
_AES_AND_SHA = f"~{1 << 57 | 1 << 33:#x}:~{1 << 29 | 1 << 41 | 1 << 42:#x}"
_WIDE = 1 << 5 | 1 << 16 | 1 << 30 | 1 << 31
_NO_WIDE = f"~{1 << 57 | 1 << 33 | 1 << 60:#x}:~{1 << 29 | 1 << 41 | 1 << 42 | _WIDE:#x}"
_ALL, _NONE, _NARROW = "all instructions", "no AES, no SHA", "no AES, no SHA, no AVX"
MASKS = {_ALL: "", _NONE: _AES_AND_SHA, _NARROW: _NO_WIDE}
"""What is hidden by the name of its row."""


def run_once(footage: Path, mask: str, seconds: int = _CLIP_S) -> dict[str, float]:
    """Write so many seconds in a process of its own; CPU seconds by part."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENSSL_ia32cap"}
    if mask:
        environment["OPENSSL_ia32cap"] = mask
    command = [sys.executable, "-m", "bench.plain_core", "--once", str(footage), str(seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    return cast("dict[str, float]", json.loads(done.stdout))


def plain_core_bench(footage: Path, *, seconds: float) -> Section:
    """Measure all rows, round robin, for about so many seconds."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in MASKS}
    if platform.machine() == "x86_64":
        for _ in range(max(1, min(7, int(seconds / 8)))):
            for name, mask in MASKS.items():
                found[name].append(run_once(footage, mask))
    return _section({name: runs for name, runs in found.items() if runs})


def _section(found: dict[str, list[dict[str, float]]]) -> Section:
    times = {name: [_CLIP_S / run["write_s"] for run in runs] for name, runs in found.items()}
    rows = tuple(
        (
            name,
            spread(times[name], 0),
            spread([run["write_s"] / _CLIP_S / _RATE * 1e6 for run in runs], 0),
            spread([run["bytes"] / run["hash_s"] / 1e6 for run in runs], 0),
            spread([run["bytes"] / run["cipher_s"] / 1e6 for run in runs], 0),
        )
        for name, runs in found.items()
    )
    goals = tuple(
        Goal(
            f"whole write path, {name}",
            f"more than {_GOAL:.0f} times real time a core",
            f"{spread(times[name], 0)} times",
            median(times[name]) > _GOAL,
        )
        for name in (_NONE, _NARROW)
        if name in times
    )
    columns = (
        "",
        "times real time a core",
        "CPU a frame, us",
        "three SHA-256 in turn, MB/s",
        "encryption, MB/s",
    )
    return Section(
        name="plain-core",
        title="Without AES and SHA instructions",
        method=(
            f"{_CLIP_S} s of 1080p30 at 10 Mbit/s with AAC through the whole write path, as in *CPU a frame*, "
            "by CPU time of one core, with `OPENSSL_ia32cap` hiding instructions from OpenSSL. The last row "
            "hides the wide vector instructions too, of which ChaCha20 makes use."
        ),
        tables=(Table("Write path by what the processor may use", columns, rows),),
        goals=goals,
        notes=() if found else ("OPENSSL_ia32cap is there on x86 alone; nothing was measured.",),
        plots=(
            Plot(
                "plain-core",
                "Whole write path, times real time a core",
                "times real time, a core",
                tuple(Bar(name, median(values), min(values), max(values)) for name, values in times.items()),
                goal=_GOAL,
            ),
        )
        if times
        else (),
    )


def main() -> None:
    """Write once and print what it took as JSON."""
    _, footage, seconds = sys.argv[1:]
    path = Path(footage)
    stream = FrameStream(load_units(path), NS_PER_S // _RATE, load_sound(path))
    count = int(seconds) * _RATE
    size = sum(len(frame.data) for number in range(count) for frame in stream.frames(number, 0))
    with scratch() as folder, Rig(Path(folder)) as rig:
        write_s = write_cpu(rig, stream, count).cpu_s
    print(
        json.dumps({"write_s": write_s, "hash_s": hash_cpu(size), "cipher_s": cipher_cpu(size), "bytes": size})
    )


if __name__ == "__main__":
    main()
