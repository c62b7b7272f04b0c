"""Decoders are made one at a time: msgspec ends the process where two threads work a type out together."""

import re
import subprocess
import sys
from pathlib import Path

import msgspec

from evidence.decoding import json_decoder

ROOT = Path(__file__).parents[2]
_RACE = """
import sys, threading
import msgspec
from evidence.decoding import json_decoder
sys.setswitchinterval(1e-6)
for _ in range(100):
    inner = msgspec.defstruct("inner", [(f"f{n}", int | None, None) for n in range(20)])
    outer = msgspec.defstruct("outer", [("a", inner, None), ("b", tuple[inner, ...], ()), ("c", int, 0)])
    barrier = threading.Barrier(4)
    def look(kind):
        barrier.wait()
        json_decoder(kind).decode(b'{"a":{"f1":1},"b":[{"f2":2}]}')
    threads = [threading.Thread(target=look, args=(kind,)) for kind in (outer, inner, outer, inner)]
    for each in threads: each.start()
    for each in threads: each.join()
print("alive")
"""


class _Small(msgspec.Struct):
    number: int


def test_each_type_has_one_decoder() -> None:
    assert json_decoder(_Small) is json_decoder(_Small)
    assert json_decoder(_Small).decode(b'{"number": 3}') == _Small(3)
    assert json_decoder(dict[str, _Small]).decode(b'{"a": {"number": 3}}') == {"a": _Small(3)}


def test_threads_that_meet_a_type_at_once_live() -> None:
    done = subprocess.run([sys.executable, "-c", _RACE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr[-2000:]


def test_nobody_makes_decoders_of_types_elsewhere() -> None:
    for package in ("evidence", "docklink", "host", "device"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name != "decoding.py":
                found = re.search(r"json\.Decoder\(\w|json\.decode\([^\n]*type=", path.read_text("utf-8"))
                assert found is None, f"{path.relative_to(ROOT)}: {found[0]}: take json_decoder"
