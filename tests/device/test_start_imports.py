"""What the firmware imports before its first frame: everything else is time in which a press finds nothing."""

import json
import subprocess
import sys

HEAVY = ("cryptography.x509", "click", "rich", "numpy", "asyncio", "pydantic", "ssl", "sqlite3", "serial")


def test_the_service_imports_nothing_that_its_first_frame_does_not_need() -> None:
    code = "import json, sys, device.service; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "device.recording.writer" in loaded
    assert not loaded & set(HEAVY)
