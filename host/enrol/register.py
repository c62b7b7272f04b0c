"""The agency's register of enrolments: `enrolments.jsonl` of its directory, only ever appended to.

Each line says what was done to which camera, what fingerprints people were shown, and how they were confirmed.
A line is on storage before the certificate that it tells of goes anywhere.
"""

import enum
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from evidence.decoding import json_decoder
from evidence.documents.fields import DeviceId, Digest, Utc
from evidence.storage import StorageError, sync_directory
from host.enrol.errors import EnrolError

__all__ = ["REGISTER", "Confirmation", "EnrolmentRecord", "RecordEvent", "Register"]

REGISTER = "enrolments.jsonl"
_MODE = 0o600


class RecordEvent(enum.StrEnum):
    """What happened."""

    DECLINED = "declined"  # by the operator; nothing was issued
    ISSUED = "issued"
    INSTALLED = "installed"
    REFUSED = "refused"  # by the camera, which keeps nothing of it
    UNCERTAIN = "uncertain"


class Confirmation(enum.StrEnum):
    """How the fingerprint was confirmed."""

    OPERATOR = "operator"  # by hand, at the terminal
    FINGERPRINT = "fingerprint"  # the one that was given beforehand is the one that was seen
    UNSEEN = "yes"  # `--yes`: by nobody


class EnrolmentRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line. Serial numbers of certificates are hexadecimal; `reason` is why it replaces, or was refused."""

    utc: Utc
    event: RecordEvent
    device: DeviceId
    serial: str
    dock: DeviceId
    bay: str
    camera_fingerprint: Digest
    agency_fingerprint: Digest
    confirmed: Confirmation | None = None
    evidence_certificate: str | None = None
    link_certificate: str | None = None
    reason: str = ""


class Register:
    """The file. One process at a time holds it while a camera is enrolled: `held`."""

    def __init__(self, agency: Path) -> None:
        self._agency = agency
        self._path = agency / REGISTER

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other enrolments of this agency out.

        Raises:
            EnrolError: another one is under way.
            StorageError: the agency's directory cannot be written.
        """
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        except OSError as error:
            raise StorageError(f"cannot write {self._path}", error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sync_directory(self._agency)
            yield
        except BlockingIOError as error:
            raise EnrolError(
                "another camera is being enrolled with this agency's directory", remedy="wait for its end"
            ) from error
        finally:
            os.close(fd)

    def records(self) -> tuple[EnrolmentRecord, ...]:
        """Return all lines; a last one that was cut short by a crash is left out.

        Raises:
            EnrolError: a line cannot be read.
        """
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise StorageError(f"cannot read {self._path}", error) from error
        found = []
        for number, line in enumerate(data.splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                break
            try:
                found.append(json_decoder(EnrolmentRecord).decode(line))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise EnrolError(
                    f"{self._path}, line {number}",
                    expected="a record of an enrolment",
                    found=str(error)[:200],
                    remedy="mend the line by hand: it says which ids are taken",
                ) from error
        return tuple(found)

    def holder(self, device: str, serial: str) -> EnrolmentRecord | None:
        """Return the record because of which a board cannot get this id: another one, or this one, has it.

        What was issued to this very board in an attempt whose end is not known is no hindrance to another one.
        """
        return _holder([each for each in self.records() if each.device == device], serial)

    def append(self, record: EnrolmentRecord) -> None:
        """Put a line on storage, in place of one that a crash has cut short.

        Raises:
            StorageError: it cannot be written.
        """
        line = msgspec.json.encode(record) + b"\n"
        try:
            with self._path.open("rb+") as file:
                file.truncate(file.read().rfind(b"\n") + 1)
                file.seek(0, os.SEEK_END)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(f"cannot write {self._path}", error) from error


def _holder(records: Sequence[EnrolmentRecord], serial: str) -> EnrolmentRecord | None:
    holder: EnrolmentRecord | None = None
    attempt: EnrolmentRecord | None = None
    for each in records:
        if each.event is RecordEvent.INSTALLED:
            holder, attempt = each, None
        elif each.event in (RecordEvent.ISSUED, RecordEvent.UNCERTAIN):
            attempt = each
        elif each.event is RecordEvent.REFUSED:
            attempt = None
    if holder is None and attempt is not None and attempt.serial != serial:
        return attempt
    return holder
