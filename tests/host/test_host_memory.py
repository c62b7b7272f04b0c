"""Memory of large blocks goes back to the system, whatever lies between them."""

import subprocess
import sys

_KEPT = """
import sys
from pathlib import Path
from host.memory import return_large_blocks

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

if sys.argv[1] == "set":
    assert return_large_blocks()
bytearray(4 << 20)  # glibc's threshold would follow this size
before = resident_mib()
blocks, between = [], []
for _ in range(64):
    blocks.append(bytearray(1 << 20))
    between.append(bytearray(8192))
blocks.clear()
print(resident_mib() - before)
"""


def kept_mib(how: str) -> int:
    found = subprocess.run([sys.executable, "-c", _KEPT, how], check=True, stdout=subprocess.PIPE, text=True)
    return int(found.stdout)


def test_freed_buffers_are_not_kept() -> None:
    assert kept_mib("set") < 8
    assert kept_mib("left") > 32, "the C library has changed: this setting is needed no more"
