"""What is in clips, as `preroll clip verify --json`, their journals and their manifests say."""

import json
import subprocess
from pathlib import Path
from typing import Any

from hil_tests.board.kernel import CHECKOUT
from hil_tests.board.protocol import Finished
from hil_tests.event_log import LogEvent, read_events

__all__ = ["PREROLL", "VaultCopy", "pictures"]

PREROLL = CHECKOUT / ".venv" / "bin" / "preroll"
"""The project's own command, on the bench's host."""


def pictures(verified: Finished, *, status: int) -> dict[str, int]:
    """Hold a verification to its exit status; return how many pictures decode, by the clip's path."""
    assert verified.status == status, f"{verified.status}: {verified.output[-4000:]}{verified.errors[-2000:]}"
    found = {}
    for clip in json.loads(verified.output)["clips"]:
        media = next(check["detail"] for check in clip["checks"] if check["name"] == "media")
        found[clip["path"]] = int(media.split()[0])
    return found


class VaultCopy:
    """A vault that was taken off its card, on the bench's host: judging it there costs no board's time."""

    def __init__(self, path: Path, root: Path, identity: Path) -> None:
        self.path = path
        self._root = root
        self._identity = identity

    @property
    def names(self) -> list[str]:
        """The clips, oldest first."""
        return sorted(path.name for path in (self.path / "clips").iterdir())

    def verify(self, name: str = "", *, status: int = 0) -> dict[str, int]:
        """Verify one clip, or everything; returns how many pictures decode, by the clip's name."""
        path = self.path / "clips" / name if name else self.path
        command: list[str | Path] = [
            PREROLL,
            "clip",
            "verify",
            path,
            "--ca",
            self._root,
            "--identity",
            self._identity,
            "--json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = pictures(Finished(done.returncode, done.stdout, done.stderr), status=status)
        return {path.rpartition("/")[2]: count for path, count in found.items()}

    def journal(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of a clip's journal, without their signatures (docs/formats.md)."""
        text = (self.path / "clips" / name / "journal.jsonl").read_text(encoding="utf-8")
        return [json.loads(line)["l"] for line in text.splitlines()]

    def manifest(self, name: str) -> dict[str, Any]:
        """Return a clip's manifest."""
        found: dict[str, Any] = json.loads((self.path / "clips" / name / "manifest.json").read_bytes())
        return found

    def events(self) -> list[LogEvent]:
        """Return what the event log says, oldest first."""
        files = sorted((self.path / "log").iterdir())
        return read_events("".join(file.read_text(encoding="utf-8") for file in files))
