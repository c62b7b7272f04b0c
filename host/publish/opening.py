"""Opening the outbox, whatever became of it: a broken or older one is set aside, and another series begun."""

from pathlib import Path

from evidence.storage import StorageError, sync_directory
from host.publish.errors import OutboxDamagedError, OutboxError
from host.publish.outbox import Outbox
from host.publish.standing import read_standing

__all__ = ["open_outbox"]


def open_outbox(path: Path, *, limit: int = 100_000) -> tuple[Outbox, str]:
    """Open or make an outbox; returns it, and what was wrong with the one before, in words.

    One that is broken, or older than what was published (a copy from a backup: its numbers were given to other
    events since), is put aside with `.broken` behind its name. The next goes on from how it stood: a greater
    session, the same retained topics, the custody log from the first event that the broker may not have.

    Raises:
        OutboxError: it is of a later version, or storage refuses.
    """
    before = read_standing(path)
    trouble = ""
    try:
        outbox = Outbox(path, limit=limit, before=before)
    except OutboxDamagedError as error:
        trouble = str(error)
    else:
        stands = outbox.standing()
        if before is None or stands.generation > before.generation:
            fresh = before is not None and stands.last == 0
            return outbox, f"the outbox {path.name} is gone; another series begins" if fresh else ""
        if stands.age >= before.age:
            if stands.session < before.session:
                outbox.note_session(before.session)
            return outbox, ""
        outbox.close()
        trouble = f"the outbox {path.name} is older than what was published, event {before.last}"
    _set_aside(path)
    return Outbox(path, limit=limit, before=before), (
        f"{trouble}; it is now {path.name}.broken, and another series begins"
    )


def _set_aside(path: Path) -> None:
    """Put a database aside with all that belongs to it; its log first, or the next one would take it in."""
    try:
        for suffix in ("-shm", "-wal", ""):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.replace(path.with_name(f"{path.name}.broken{suffix}"))
        sync_directory(path.parent)
    except (OSError, StorageError) as error:
        raise OutboxError(
            f"the broken outbox {path.name} cannot be put aside", found=str(error), remedy="move it away"
        ) from error
