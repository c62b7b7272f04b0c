"""The named steps by which a clip comes onto storage, and the seam at which a test ends the process at one.

Everything that creates, grows, renames, cuts or removes a file of a clip goes through `evidence.storage`, which
calls `step` right before each such operation; a kill *before* a step is a kill *after* the one before it. With
no hook set, a step costs one comparison.

The lists below are the registry: a test requires that what happens is what they say, and kills at each of them.
"""

import enum
from collections.abc import Callable
from pathlib import Path

__all__ = [
    "CREATE_STEPS",
    "RECEIPT_STEPS",
    "RECOVER_STEPS",
    "RELEASE_STEPS",
    "SEAL_STEPS",
    "WRITE_STEPS",
    "Operation",
    "StepHook",
    "set_step_hook",
    "step",
    "step_name",
]


class Operation(enum.StrEnum):
    """What is about to happen on storage."""

    MAKE_DIRECTORY = "make-directory"
    CREATE = "create"
    APPEND = "append"
    SYNC = "sync"
    RENAME = "rename"
    SYNC_DIRECTORY = "sync-directory"
    CUT = "cut"
    REMOVE = "remove"


CREATE_STEPS = (
    "make-directory claim",
    "create journal.jsonl",
    "append journal.jsonl",
    "sync journal.jsonl",
    "sync-directory claim",
    "rename claim",
    "sync-directory clips",
    "create clip.mp4.age",
    "sync-directory clip",
)
"""From the press to a claimed number and an empty file for its ciphertext."""

WRITE_STEPS = ("append clip.mp4.age", "sync clip.mp4.age", "append journal.jsonl", "sync journal.jsonl")
"""One sync point, and the last line."""

SEAL_STEPS = tuple(
    f"{operation} {name}"
    for file in ("manifest.p7s", "manifest.json")
    for operation, name in (
        ("create", f".{file}.tmp"),
        ("append", f".{file}.tmp"),
        ("sync", f".{file}.tmp"),
        ("rename", f".{file}.tmp"),
        ("sync-directory", "clip"),
    )
)
"""From the last line, or from recovery's figures, to a sealed clip."""

_TOMBSTONE_FILES = ("journal.jsonl", "manifest.json", "manifest.p7s", "receipt.json", "receipt.p7s")

RECEIPT_STEPS = tuple(
    f"{operation} {name}"
    for file in ("receipt.p7s", "receipt.json")
    for operation, name in (
        ("create", f".{file}.tmp"),
        ("append", f".{file}.tmp"),
        ("sync", f".{file}.tmp"),
        ("rename", f".{file}.tmp"),
        ("sync-directory", "clip"),
    )
)
"""From a receipt that is good to a clip that is releasable."""

RELEASE_STEPS = (
    "make-directory tombstone",
    *(f"{operation} {name}" for name in _TOMBSTONE_FILES for operation in ("create", "append", "sync")),
    "sync-directory tombstone",
    "rename tombstone",
    "sync-directory tombstones",
    "rename clip",
    "sync-directory clips",
    *(f"remove {name}" for name in ("clip.mp4.age", *_TOMBSTONE_FILES)),
    "remove remains",
    "sync-directory clips",
)
"""From a releasable clip to its tombstone; the files that are removed come in any order."""

RECOVER_STEPS = (
    "make-directory rejected",  # a manifest that this camera did not sign
    "sync-directory vault",
    "rename manifest.json",
    "rename manifest.p7s",
    "sync-directory rejected",
    "sync-directory clip",
    "remove clip.mp4.age",  # a claim that holds nothing
    "create .tail.bin.tmp",  # what follows the capped tail
    "append .tail.bin.tmp",
    "sync .tail.bin.tmp",
    "rename .tail.bin.tmp",
    "cut clip.mp4.age",
    "sync clip.mp4.age",
    "sync journal.jsonl",
    *SEAL_STEPS,
)
"""What recovery does, at most; which of them a clip needs depends on what it holds."""

StepHook = Callable[[Operation, Path], None]
"""Hears of each step before it happens; one that raises or never returns ends the process there."""

_UNPUBLISHED = {".claim-": "claim", ".making-": "tombstone", ".released-": "remains"}
_DIRECTORIES = frozenset({"clips", "rejected", "tombstones"})
_hook: StepHook | None = None


def set_step_hook(hook: StepHook | None) -> None:
    """Set who hears of each step; `None` for nobody. For tests: one hook a process."""
    global _hook  # noqa: PLW0603 - one seam a process, so that no constructor carries it through
    _hook = hook


def step(operation: Operation, path: Path) -> None:
    """Say that an operation on a path is about to happen."""
    if _hook is not None:
        _hook(operation, path)


def step_name(operation: Operation, path: Path) -> str:
    """Name a step as the registry does: by the file, or by what a directory is.

    A clip's directory is `clip`; one that is not published `claim`; `tombstone` and `remains` are those of a
    release.
    """
    name = path.name
    for prefix, word in _UNPUBLISHED.items():
        if name.startswith(prefix):
            return f"{operation} {word}"
    if operation is Operation.RENAME and path.parent.name == "clips":
        return f"{operation} clip"
    if operation is not Operation.SYNC_DIRECTORY or name in _DIRECTORIES:
        return f"{operation} {name}"
    return f"{operation} {'vault' if (path / 'clips').is_dir() else 'clip'}"
