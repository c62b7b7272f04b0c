"""CPU per GiB of Preroll's age writer beside Debian's `age` and rage (pyrage), in one call.

    python bench/age_peers.py [--mebibytes 256] [--rounds 3]

Each side encrypts the same bytes to one X25519 recipient and throws the result away; the rounds go round robin
and the best of each side counts. CPU is user and system time: of this process for the writer and pyrage, of the
child for `age`, which gets its input through a pipe, as a recorder would have to hand it over. The first row is
the cipher alone, which no writer on this library can beat. Ratios hold on a processor of the same kind.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from evidence.age import AgeWriter, generate_identity

_GIB = 1 << 30
_MIB = 1 << 20
_CHUNK_BYTES = 64 * 1024
_FLOOR = "ChaCha20-Poly1305 alone"
_WRITE_BYTES = 40_000  # a frame at 10 Mbit/s


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    size = arguments.mebibytes * _MIB
    block = os.urandom(_MIB)
    identity = generate_identity()
    recipient = identity.recipient()

    def preroll() -> float:
        return _own_cpu(lambda: _write_frames(AgeWriter([recipient], _nowhere), block, size))

    def preroll_large() -> float:
        return _own_cpu(lambda: _write_blocks(AgeWriter([recipient], _nowhere), block, size))

    rows: dict[str, Callable[[], float] | None] = {
        _FLOOR: lambda: _own_cpu(lambda: _seal_only(block, size)),
        "preroll, frames of 40 kB": preroll,
        "preroll, blocks of 1 MiB": preroll_large,
        "age (Go)": _age(str(recipient), block, size),
        "rage (pyrage)": _pyrage(str(recipient), block, size),
    }
    runs = {name: run for name, run in rows.items() if run}
    rounds = [{name: run() for name, run in runs.items()} for _ in range(arguments.rounds)]
    seconds = {name: min(round_[name] for round_ in rounds) for name in runs}
    _print_table(rows, seconds, size / _GIB)


def _print_table(rows: Mapping[str, object], seconds: Mapping[str, float], gib: float) -> None:
    base = seconds[_FLOOR]
    print(f"{'':28} CPU s/GiB   of the cipher alone")
    for name in rows:
        if name in seconds:
            print(f"{name:28} {seconds[name] / gib:9.3f} {seconds[name] / base:7.2f}")
        else:
            print(f"{name:28} not installed")


def _seal_only(block: bytes, size: int) -> None:
    cipher = ChaCha20Poly1305(bytes(32))
    nonce = bytes(12)  # the result is thrown away
    view = memoryview(block)
    sealed = memoryview(bytearray(_CHUNK_BYTES + 16))
    for index in range(size // _CHUNK_BYTES):
        start = index % 16 * _CHUNK_BYTES
        cipher.encrypt_into(nonce, view[start : start + _CHUNK_BYTES], None, sealed)


def _write_frames(writer: AgeWriter, block: bytes, size: int) -> None:
    view = memoryview(block)
    rest = size
    while rest:
        offset = rest % (_MIB - _WRITE_BYTES)
        piece = view[offset : offset + min(_WRITE_BYTES, rest)]
        writer.write(piece)
        rest -= len(piece)
    writer.close()


def _write_blocks(writer: AgeWriter, block: bytes, size: int) -> None:
    for _ in range(size // _MIB):
        writer.write(block)
    writer.close()


def _nowhere(_: memoryview) -> None:
    """Take a chunk and forget it."""


def _own_cpu(run: Callable[[], object]) -> float:
    before = time.process_time()
    run()
    return time.process_time() - before


def _age(recipient: str, block: bytes, size: int) -> Callable[[], float] | None:
    age = shutil.which("age")
    if age is None:
        return None

    def run() -> float:
        before = _children_cpu()
        child = subprocess.Popen([age, "-r", recipient], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert child.stdin is not None
        for _ in range(size // _MIB):
            child.stdin.write(block)
        child.stdin.close()
        if child.wait() != 0:
            sys.exit("age failed")
        return _children_cpu() - before

    return run


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _pyrage(recipient: str, block: bytes, size: int) -> Callable[[], float] | None:
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

    return lambda: _own_cpu(lambda: pyrage.encrypt_io(Source(), Target(), [key]))


if __name__ == "__main__":
    main()
