"""What a run on the real camera stack found, as Markdown."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import msgspec

from hil_tests.camera.camerabench import ROOT

__all__ = ["Form", "Report"]

_TEXT = """\
# The real camera stack

`preroll device run` recorded through real picamera2 and real libcamera, whose virtual camera has the bench's
sensor: 30 frames a second by CLOCK_MONOTONIC, each with its number and time drawn into it. What stands in for
parts of a Pi, and what that leaves untested, is in [real-camera.md]({guide}).

- Command: `{command}`
- Build: {build}
- Stack: {stack}; picamera2 {picamera2}, PyAV {av}, encoder: libav in software
- Machine: {machine}, {cores} cores, Linux {kernel}, Python {python}

| what | found |
|---|---|
{rows}
"""


class Form(msgspec.Struct, frozen=True):
    """How much is recorded, and where the report goes."""

    seconds: float
    size: tuple[int, int]
    path: Path
    command: str

    @classmethod
    def of_environment(cls) -> "Form":
        """Return what CAMERA_SECONDS, CAMERA_SIZE and CAMERA_REPORT say; without them the short form."""
        width, _, height = os.environ.get("CAMERA_SIZE", "640x480").partition("x")
        path = ROOT / os.environ.get("CAMERA_REPORT", "build/camera/report.md")
        command = os.environ.get("CAMERA_COMMAND", "make camera")
        return cls(float(os.environ.get("CAMERA_SECONDS", "60")), (int(width), int(height)), path, command)


class Report:
    """Rows in the order in which tests found them."""

    def __init__(self, stack: str, form: Form) -> None:
        self._stack = stack
        self._form = form
        self._rows: list[tuple[str, str]] = []

    def add(self, what: str, found: str) -> None:
        """Add a row; a figure comes with its unit."""
        self._rows.append((what, found))

    def write(self) -> None:
        """Write it, unless no test came so far as to find anything."""
        if not self._rows:
            return
        path = self._form.path
        path.parent.mkdir(parents=True, exist_ok=True)
        guide = os.path.relpath(ROOT / "docs/real-camera.md", path.parent)
        text = _TEXT.format(
            guide=guide,
            command=self._form.command,
            build=_build(),
            stack=self._stack,
            picamera2=version("picamera2"),
            av=version("av"),
            machine=platform.machine(),
            cores=os.cpu_count(),
            kernel=platform.release().split("-")[0],
            python=platform.python_version(),
            rows="\n".join(f"| {what} | {found} |" for what, found in self._rows),
        )
        path.write_text(text, encoding="utf-8")


def _build() -> str:
    git = shutil.which("git")
    if git is None:
        return "not known without git"
    found = subprocess.run(
        [git, "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "not from a checkout"
