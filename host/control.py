"""The agent's socket: `preroll dock status|assign|release|enrol` ask the running agent (docs/dock.md).

A Unix socket, mode 0600: who may open it is who runs the agent. One JSON line asks, one JSON line answers.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, cast

import msgspec

from docklink.messages import WearerAssignment
from evidence.decoding import json_decoder
from evidence.documents.fields import ClipName, DeviceId, Operator, Text
from evidence.errors import EvidenceError, ExplainedError
from host.badges import BadgeStatus
from host.bays.status import BayStatus
from host.custody import CheckpointStatus
from host.offload.station import Notice

__all__ = [
    "Answer",
    "Ask",
    "AskAssign",
    "AskLend",
    "AskRelease",
    "AskReturn",
    "AskStatus",
    "BrokerStatus",
    "ControlServer",
    "CustodyStatus",
    "DockStatus",
    "NoAgentError",
    "QuarantineEntry",
    "StoreStatus",
    "ask",
]

_LIMIT_BYTES = 16 * 1024 * 1024
_ASK_LIMIT_BYTES = 64 * 1024
_TIMEOUT_S = 10.0
_ACCEPT_S = 0.5


class NoAgentError(EvidenceError):
    """No agent runs with this configuration."""


class StoreStatus(msgspec.Struct, frozen=True):
    """The store now."""

    store: str
    state: str
    detail: str
    free_bytes: int | None
    total_bytes: int | None
    catalogue: str


class BrokerStatus(msgspec.Struct, frozen=True):
    """How the dock stands to its MQTT broker.

    `lost` events could not be written to disk, `skipped` ones are longer than the broker takes.
    """

    phase: str
    detail: str
    session: int
    lost: int
    skipped: int


class QuarantineEntry(msgspec.Struct, frozen=True):
    """A clip that lies apart."""

    clip: str
    device: str
    reasons: tuple[str, ...]
    released: bool


class CustodyStatus(msgspec.Struct, frozen=True):
    """The digest of the custody log's last entry, and what is kept of it elsewhere."""

    head: str | None
    checkpoints: CheckpointStatus


class DockStatus(msgspec.Struct, frozen=True):
    """Everything that `preroll dock status` shows. `hotplug` is `udev`, or why there is none."""

    dock: str
    utc: str
    store: StoreStatus
    bays: tuple[BayStatus, ...]
    quarantine: tuple[QuarantineEntry, ...]
    notices: tuple[Notice, ...]
    custody_entries: int
    custody: CustodyStatus
    hotplug: str = ""
    badges: tuple[BadgeStatus, ...] = ()
    broker: BrokerStatus | None = None


class AskStatus(msgspec.Struct, frozen=True, tag_field="ask", tag="status", forbid_unknown_fields=True):
    """How does it stand?"""


class AskAssign(msgspec.Struct, frozen=True, tag_field="ask", tag="assign", forbid_unknown_fields=True):
    """A camera to a wearer, for a shift."""

    device: DeviceId
    assignment: WearerAssignment


class AskRelease(msgspec.Struct, frozen=True, tag_field="ask", tag="release", forbid_unknown_fields=True):
    """A clip out of quarantine."""

    clip: ClipName
    reason: Text
    operator: Operator


class AskLend(msgspec.Struct, frozen=True, tag_field="ask", tag="lend", forbid_unknown_fields=True):
    """A bay's port for somebody else, for so long at most."""

    bay: str
    seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)]


class AskReturn(msgspec.Struct, frozen=True, tag_field="ask", tag="return", forbid_unknown_fields=True):
    """A bay that was lent is given back."""

    bay: str


Ask = AskStatus | AskAssign | AskRelease | AskLend | AskReturn


class Answer(msgspec.Struct, frozen=True):
    """`error` is one line, or empty; then `detail` or `status` says what was done."""

    error: str = ""
    detail: str = ""
    status: DockStatus | None = None


class ControlServer:
    """Serves one ask after the other in a thread of its own."""

    def __init__(self, path: Path, answer: Callable[[Ask], Answer]) -> None:
        """Listen.

        Raises:
            EvidenceError: the socket cannot be made.
        """
        self._path = path
        self._answer = answer
        self._stopping = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.unlink(missing_ok=True)  # the store's lock says that no other agent runs
            self._socket.bind(str(path))
            path.chmod(0o600)
            self._socket.listen(4)
            self._socket.settimeout(_ACCEPT_S)
        except OSError as error:
            self._socket.close()
            raise EvidenceError(f"cannot make the socket {path}", found=error.strerror or str(error)) from error
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._stopping.set()
        self._thread.join()
        self._socket.close()
        with contextlib.suppress(OSError):  # somebody took the file away; the next agent makes it anew
            self._path.unlink()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            with connection, contextlib.suppress(OSError):  # who asked may be gone again
                connection.settimeout(_TIMEOUT_S)
                connection.sendall(msgspec.json.encode(self._answered(connection)) + b"\n")

    def _answered(self, connection: socket.socket) -> Answer:
        try:
            return self._answer(
                json_decoder(cast("type[Ask]", Ask)).decode(_read_line(connection, _ASK_LIMIT_BYTES))
            )
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return Answer(error=f"not a question: {str(error)[:200]!a}")
        except ExplainedError as error:
            return Answer(error=str(error))


def ask(path: Path, question: Ask) -> Answer:
    """Ask the agent whose socket that is.

    Raises:
        NoAgentError: nobody answers.
        EvidenceError: the agent says no, with its reason.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(str(path))
            connection.sendall(msgspec.json.encode(question) + b"\n")
            answer = json_decoder(Answer).decode(_read_line(connection, _LIMIT_BYTES))
    except (OSError, msgspec.MsgspecError) as error:
        raise NoAgentError(
            f"no agent answers on {path}", found=str(error), remedy="start it with `preroll dock run`"
        ) from error
    if answer.error:
        raise EvidenceError(answer.error)
    return answer


def _read_line(connection: socket.socket, limit_bytes: int) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n") and len(data) < limit_bytes:
        chunk = connection.recv(65_536)
        if not chunk:
            break
        data += chunk
    return bytes(data)
