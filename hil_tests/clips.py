"""What is in clips, as `preroll clip verify --json` and their journals say."""

import json
from typing import Any

from hil_tests.board.protocol import Computer, Finished

__all__ = ["pictures", "start_line"]


def pictures(verified: Finished, *, status: int) -> dict[str, int]:
    """Hold a verification to its exit status; return how many pictures decode, by the clip's path."""
    assert verified.status == status, f"{verified.status}: {verified.output[-4000:]}{verified.errors[-2000:]}"
    found = {}
    for clip in json.loads(verified.output)["clips"]:
        media = next(check["detail"] for check in clip["checks"] if check["name"] == "media")
        found[clip["path"]] = int(media.split()[0])
    return found


def start_line(computer: Computer, clip: str) -> dict[str, Any]:
    """Return line 0 of a clip's journal, without its signature (docs/formats.md)."""
    line: dict[str, Any] = json.loads(computer.read(f"{clip}/journal.jsonl").splitlines()[0])["l"]
    return line
