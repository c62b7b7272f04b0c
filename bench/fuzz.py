"""Fuzzing: every parser gets inputs made from the kept corpus, and may refuse, never fall over.

    python -m bench.fuzz [TARGET ...] [--seconds 60] [--engine atheris|hypothesis] [--findings DIRECTORY]

With atheris (libFuzzer, guided by coverage; install it yourself, `pip install atheris`: it exists for few
platforms, so it is in no lock file) each target runs in a process of its own, with 1 GiB of memory and 10 s for
one input. Without it, hypothesis alters the corpus blindly, in this process. An input that was found to matter
lies in the directory of findings, and belongs into `tests/corpus/TARGET/found-NAME` once it is mended.
"""

import argparse
import hashlib
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import hypothesis
import msgspec
from hypothesis import strategies as st

from bench.fuzz_keys import CORPUS

__all__ = ["Outcome", "altered", "corpus", "main", "run_blindly"]

_INSTRUMENTED = ("evidence", "docklink", "device")
_LARGEST_BYTES = 96 * 1024
_MEMORY_MIB = 1024
_ONE_INPUT_S = 10
_ROUND = 200
_SHOWN_LINES = 12


class Outcome(msgspec.Struct, frozen=True):
    """What fuzzing one target came to; `finding` is the end of a traceback, or a line of the fuzzer's."""

    executions: int
    seconds: float
    finding: str = ""


class _FoundError(Exception):
    """An input made a target fall over."""

    def __init__(self, data: bytes, trace: str) -> None:
        self.data = data
        super().__init__(trace)


def main(arguments: list[str] | None = None) -> int:
    """Fuzz what is asked for, print a table; 1 if there was a finding."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description="Fuzz the parsers.")
    parser.add_argument("target", nargs="*", help="these alone")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--engine", choices=("atheris", "hypothesis"), help="default: atheris if it is there")
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir()) / "preroll-fuzz")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.inside:
        _fuzz_inside(chosen.target[0], chosen.seconds, chosen.findings)
    engine = chosen.engine or ("atheris" if importlib.util.find_spec("atheris") else "hypothesis")
    print(f"{engine}, {chosen.seconds} s each\n{'target':16} executions  per second", flush=True)
    found = False
    for name in chosen.target or _names():
        chosen.findings.mkdir(parents=True, exist_ok=True)
        run = run_guided if engine == "atheris" else run_blindly
        outcome = run(name, chosen.seconds, chosen.findings)
        rate = outcome.executions / max(outcome.seconds, 1e-9)
        print(
            f"{name:16} {outcome.executions:10}  {rate:10.0f}  {'FOUND' if outcome.finding else ''}", flush=True
        )
        if outcome.finding:
            found = True
            print(outcome.finding, flush=True)
    if found:
        print(f"inputs: {chosen.findings}")
    return int(found)


def corpus(name: str) -> list[bytes]:
    """Return the kept inputs of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def altered(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Inputs made from seeds: pieces cut out, doubled, overwritten or taken from another seed."""
    piece = st.one_of(
        st.binary(max_size=12),
        st.sampled_from([b"\0" * 8, b"\xff" * 8, b"\n", b'"', b"[" * 3000, b"9" * 5000, b"{}", b"-1", b"null"]),
        st.builds(_slice, st.sampled_from(seeds), st.integers(0), st.integers(0, 300)),
    )
    edits = st.lists(st.tuples(st.integers(0), st.integers(0, 20), piece), max_size=4)
    return st.builds(_edited, st.sampled_from(seeds), edits)


def _slice(data: bytes, place: int, length: int) -> bytes:
    start = place % (len(data) + 1)
    return data[start : start + length]


def _edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for place, length, piece in edits:
        start = place % (len(data) + 1)
        data = data[:start] + piece + data[start + length :]
    return data[:_LARGEST_BYTES]


def run_blindly(name: str, seconds: float, findings: Path) -> Outcome:
    """Alter the corpus with hypothesis until the time is over or something is found."""
    from bench.fuzz_targets import run  # noqa: PLC0415 -- under atheris it is imported by the instrumented process

    executions = 0

    def attempt(data: bytes) -> None:
        nonlocal executions
        executions += 1
        try:
            run(name, data)
        except Exception as error:
            raise _FoundError(data, traceback.format_exc()) from error

    settings = hypothesis.settings(
        max_examples=_ROUND, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    test = settings(hypothesis.given(altered(corpus(name)))(attempt))
    begin, number = time.monotonic(), 0
    while time.monotonic() - begin < seconds:
        number += 1
        try:
            hypothesis.seed(number)(test)()
        except _FoundError as found:
            (findings / f"{name}-{_short(found.data)}").write_bytes(found.data)
            return Outcome(executions, time.monotonic() - begin, _end_of(str(found)))
    return Outcome(executions, time.monotonic() - begin)


def run_guided(name: str, seconds: float, findings: Path) -> Outcome:
    """Run a process with atheris, and read what libFuzzer says at its end."""
    command = [sys.executable, "-m", "bench.fuzz", "--inside", name, "--seconds", f"{seconds:.0f}"]
    begin = time.monotonic()
    child = subprocess.run(
        [*command, "--findings", str(findings)], capture_output=True, text=True, errors="replace", check=False
    )
    output = child.stdout + child.stderr
    executions = re.findall(r"stat::number_of_executed_units: (\d+)", output)
    finding = "" if child.returncode == 0 else _end_of(_trace_of(output))
    return Outcome(int(executions[-1]) if executions else 0, time.monotonic() - begin, finding)


def _trace_of(output: str) -> str:
    """Find the traceback; of a hang or of too much memory there is a line of libFuzzer's."""
    trace = re.search(r"Uncaught Python exception: ===\n(.*?)(?:\n\n|\n==\d|\Z)", output, re.DOTALL)
    return trace[1] if trace else "\n".join(re.findall(r"SUMMARY.*", output)) or output


def _fuzz_inside(name: str, seconds: int, findings: Path) -> None:
    """Become the fuzzer of one target; libFuzzer ends the process."""
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415 -- optional, see above

    with atheris.instrument_imports(include=list(_INSTRUMENTED)):
        from bench.fuzz_targets import run  # noqa: PLC0415 -- instrumented while it is imported

    with tempfile.TemporaryDirectory() as grown:
        options = [
            f"-max_total_time={seconds}",
            f"-max_len={_LARGEST_BYTES}",
            f"-timeout={_ONE_INPUT_S}",
            f"-rss_limit_mb={_MEMORY_MIB}",
            f"-artifact_prefix={findings / name}-",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *options, grown, str(CORPUS / name)], lambda data: run(name, data))
        atheris.Fuzz()


def _names() -> list[str]:
    from bench.fuzz_targets import TARGETS  # noqa: PLC0415 -- as above

    return list(TARGETS)


def _end_of(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-_SHOWN_LINES:])


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


if __name__ == "__main__":
    sys.exit(main())
