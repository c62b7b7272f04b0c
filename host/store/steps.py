"""The named steps by which a clip comes into a store, and their names (evidence/steps.py has the seam).

A kill *before* a step is a kill *after* the one before it. Tests require that what happens is what the lists
say, and kill at each of them.
"""

from pathlib import Path

from evidence.steps import Operation

__all__ = ["FETCH_STEPS", "PUBLISH_STEPS", "RECEIPT_STEPS", "store_step_name"]

FETCH_STEPS = (
    "make-directory partial",
    "sync-directory partials",
    *(
        f"{step} {name}"
        for file in ("manifest.p7s", "manifest.json", "journal.jsonl")
        for step, name in (
            ("create", file),
            ("append", file),
            ("sync", file),
            ("rename", file),
            ("sync-directory", "partial"),
        )
    ),
    "create clip.mp4.age",  # or, resumed, "cut clip.mp4.age"
    "append clip.mp4.age",
    "sync clip.mp4.age",
)
"""What a fetch does; a resumed one cuts instead of creating."""

PUBLISH_STEPS = (
    "sync clip.mp4.age",
    "sync journal.jsonl",
    "sync manifest.json",
    "sync manifest.p7s",
    "sync-directory partial",
    "make-directory device",
    "sync-directory clips",
    "rename partial",
    "sync-directory device",
    "sync-directory partials",
)
"""From the last byte fetched to a clip in its place: synced, read back, renamed."""

RECEIPT_STEPS = (
    "append custody.jsonl",
    "sync custody.jsonl",
    *(
        f"{step} {name}"
        for file in ("receipt.p7s", "receipt.json")
        for step, name in (
            ("create", file),
            ("append", file),
            ("sync", file),
            ("rename", file),
            ("sync-directory", "clip"),
        )
    ),
)
"""From a published clip to a receipt that may be handed out."""

_TOP = {"clips": "clips", "partial": "partials", "quarantine": "quarantine"}


def store_step_name(root: Path, operation: Operation, path: Path) -> str:
    """Name a step: what is done, and to which kind of thing; temporary names count as what they become."""
    parts = path.relative_to(root).parts
    name = parts[-1] if parts else "root"
    if name.startswith(".") and name.endswith(".tmp"):
        name = name[1:-4]
    if len(parts) == 1 and name in _TOP:
        return f"{operation} {_TOP[name]}"
    if parts and parts[0] == "partial" and len(parts) == 2:  # noqa: PLR2004 - partial/CLIP
        return f"{operation} partial"
    if parts and parts[0] in ("clips", "quarantine") and len(parts) == 2:  # noqa: PLR2004 - clips/DEVICE
        return f"{operation} device"
    if operation is Operation.SYNC_DIRECTORY and len(parts) == 3:  # noqa: PLR2004 - clips/DEVICE/CLIP
        return f"{operation} clip"
    return f"{operation} {name}"
