"""Firmware of an earlier commit, out of this checkout's own history, to be replaced by what is here."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hil_tests.board.kernel import CHECKOUT

__all__ = ["OLD_VERSION", "OldFirmware", "find_old_firmware"]

OLD_VERSION = "0.0.9"
"""What the old one is made to call itself, so that its clips can be told from those of the new one."""
_REVISION = os.environ.get("HIL_UPGRADE_FROM", "")
_BACK = "HEAD~40"
_PACKAGES = ("device", "docklink", "evidence", "host", "preroll")


@dataclass(frozen=True)
class OldFirmware:
    """A commit, and its packages in a directory of the host."""

    commit: str
    directory: Path


def find_old_firmware(directory: Path) -> OldFirmware | str:
    """Unpack the earlier firmware; where history has none, return why.

    It is that of the environment's HIL_UPGRADE_FROM, else of the newest tag before this commit, else of 40
    commits ago.
    """
    revision = _REVISION or _git("describe", "--tags", "--abbrev=0", "HEAD^") or _BACK
    commit = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if not commit:
        return f"the checkout has no {revision}; HIL_UPGRADE_FROM may name another commit"
    command = ["git", "archive", "--format=tar", commit, *_PACKAGES]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=False)
    if done.returncode != 0:
        return f"{commit} can't be unpacked: {done.stderr.decode(errors='replace').strip()}"
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-x", "--no-same-owner", "-C", str(directory)], input=done.stdout, check=True)
    told = directory / "device" / "__init__.py"
    text = told.read_text(encoding="utf-8")
    head, _, rest = text.partition('__version__ = "')
    told.write_text(f'{head}__version__ = "{OLD_VERSION}"{rest.partition(chr(34))[2]}', encoding="utf-8")
    return OldFirmware(commit, directory)


def _git(*arguments: str) -> str:
    if shutil.which("git") is None:
        return ""
    done = subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
