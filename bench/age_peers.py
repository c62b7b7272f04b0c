"""CPU per GiB of Preroll's age writer beside Debian's `age` and rage (pyrage), in one call.

    python -m bench.age_peers [--mebibytes 256] [--seconds 15]

Each side encrypts the same bytes to one X25519 recipient and throws the result away; the rounds go round robin
and the median of each side counts. CPU is user and system time: of this process for the writer and pyrage, of
the child for `age`, which gets its input through a pipe, as a recorder would hand it over. The first row is
the cipher alone, which no writer on this library can beat. Ratios hold on a processor of the same kind.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from bench.report import Goal, Plot, Section, Table, bar, spread, text
from bench.stopwatch import Spent, Stopwatch
from evidence.age import AgeWriter, generate_identity

__all__ = ["age_bench"]

_GIB = 1 << 30
_ROUNDS = 3
_MIB = 1 << 20
_CHUNK_BYTES = 64 * 1024
_FLOOR = "ChaCha20-Poly1305 alone"
_OURS, _PEER = "preroll, fragments of 580 kB", "age (Go)"
_GOAL = 0.5
_FRAGMENT_BYTES = 580_000  # what the camera's writer hands over at a time, at 10 Mbit/s
_FRAME_BYTES = 40_000


def age_bench(*, seconds: float = 30, mebibytes: int = 256) -> Section:
    """Measure for about that long, three rounds at least."""
    runs = _runs(mebibytes * _MIB)
    found: dict[str, list[Spent]] = {name: [] for name, run in runs.items() if run}
    begin, count = time.monotonic(), 0
    while count < _ROUNDS or time.monotonic() - begin < seconds:
        for name, run in runs.items():
            if run:
                found[name].append(run())
        count += 1
    gib = mebibytes * _MIB / _GIB
    cpu = {name: [run.cpu_s / gib for run in each] for name, each in found.items()}
    base = statistics.median(cpu[_FLOOR])
    rows = tuple(
        (
            name,
            spread(cpu[name], 3),
            f"{statistics.median(cpu[name]) / base:.2f}",
            spread([mebibytes * _MIB / 1e6 / run.wall_s for run in found[name]], 0),
        )
        if name in found
        else (name, "not installed", "", "")
        for name in runs
    )
    return Section(
        name="encrypt",
        title="Encryption beside `age` and rage",
        method="Encryption to one X25519 recipient, the result thrown away; `age` reads from a pipe.",
        tables=(Table(f"{mebibytes} MiB", ("", "CPU s/GiB", "of the cipher alone", "MB/s"), rows),),
        goals=_goals(cpu),
        plots=(Plot("encrypt", "Encryption", "CPU s/GiB", tuple(bar(*each) for each in cpu.items())),),
    )


def _goals(cpu: Mapping[str, list[float]]) -> tuple[Goal, ...]:
    if _PEER not in cpu:
        return ()
    shares = [ours / its for ours, its in zip(cpu[_OURS], cpu[_PEER], strict=True)]
    floor = statistics.median(ours / its for ours, its in zip(cpu[_FLOOR], cpu[_PEER], strict=True))
    return (
        Goal(
            "encrypt, CPU a GiB",
            f"at most {_GOAL} of age's",
            spread(shares),
            statistics.median(shares) <= _GOAL,
            reason=(
                f"OpenSSL's cipher alone, without any framing, takes {floor:.2f} of what age takes in all: "
                f"of the goal that leaves {_GOAL - floor:.2f} for framing."
            ),
        ),
    )


def _runs(size: int) -> Mapping[str, Callable[[], Spent] | None]:
    block = os.urandom(_MIB)
    recipient = generate_identity().recipient()
    return {
        _FLOOR: lambda: _own(lambda: _seal_only(block, size)),
        _OURS: lambda: _own(
            lambda: _write_pieces(AgeWriter([recipient], _nowhere), block, size, _FRAGMENT_BYTES)
        ),
        "preroll, frames of 40 kB": lambda: _own(
            lambda: _write_pieces(AgeWriter([recipient], _nowhere), block, size, _FRAME_BYTES)
        ),
        "preroll, blocks of 1 MiB": lambda: _own(
            lambda: _write_blocks(AgeWriter([recipient], _nowhere), block, size)
        ),
        _PEER: _age(str(recipient), block, size),
        "rage (pyrage)": _pyrage(str(recipient), block, size),
    }


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=15)
    arguments = parser.parse_args()
    print(text(age_bench(seconds=arguments.seconds, mebibytes=arguments.mebibytes)))


def _seal_only(block: bytes, size: int) -> None:
    cipher = ChaCha20Poly1305(bytes(32))
    nonce = bytes(12)  # the result is thrown away
    view = memoryview(block)
    sealed = memoryview(bytearray(_CHUNK_BYTES + 16))
    for index in range(size // _CHUNK_BYTES):
        start = index % 16 * _CHUNK_BYTES
        cipher.encrypt_into(nonce, view[start : start + _CHUNK_BYTES], None, sealed)


def _write_pieces(writer: AgeWriter, block: bytes, size: int, piece_bytes: int) -> None:
    view = memoryview(block)
    rest = size
    while rest:
        offset = rest % (_MIB - piece_bytes)
        piece = view[offset : offset + min(piece_bytes, rest)]
        writer.write(piece)
        rest -= len(piece)
    writer.close()


def _write_blocks(writer: AgeWriter, block: bytes, size: int) -> None:
    for _ in range(size // _MIB):
        writer.write(block)
    writer.close()


def _nowhere(_: memoryview) -> None:
    """Take a chunk and forget it."""


def _own(run: Callable[[], object]) -> Spent:
    watch = Stopwatch()
    run()
    return watch.spent()


def _age(recipient: str, block: bytes, size: int) -> Callable[[], Spent] | None:
    age = shutil.which("age")
    if age is None:
        return None

    def run() -> Spent:
        watch = Stopwatch(children=True)
        child = subprocess.Popen([age, "-r", recipient], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert child.stdin is not None
        for _ in range(size // _MIB):
            child.stdin.write(block)
        child.stdin.close()
        if child.wait() != 0:
            sys.exit("age failed")
        return watch.spent()

    return run


def _pyrage(recipient: str, block: bytes, size: int) -> Callable[[], Spent] | None:
    try:
        import pyrage  # noqa: PLC0415 -- a peer that need not be there
    except ImportError:
        return None
    key = pyrage.x25519.Recipient.from_str(recipient)

    class Source:
        rest = size

        def read(self, count: int) -> bytes:
            piece = block[: min(count, self.rest, _MIB)]
            self.rest -= len(piece)
            return piece

    class Target:
        def write(self, data: bytes) -> int:
            return len(data)

        def flush(self) -> None:
            """Have nothing to flush."""

    return lambda: _own(lambda: pyrage.encrypt_io(Source(), Target(), [key]))


if __name__ == "__main__":
    main()
