"""A device's event log, written line by line, with any key and any defect."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from evidence.documents import LogEvent, LogLine, encode
from evidence.eventlog import LOG_PREFIX, LogReader, log_segments
from evidence.lines import LineChain

if TYPE_CHECKING:
    from cryptography import x509

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class BareSigner:
    """A key without certificates: lines need none."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public_key = self._key.public_key()

    @property
    def chain(self) -> "tuple[x509.Certificate, ...]":
        return ()

    def sign_digest(self, digest: bytes) -> bytes:
        r, s = decode_dss_signature(self._key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
        return encode_dss_signature(r, min(s, _ORDER - s))


class LogMaker:
    """Appends lines to the files of a log; what is special about a line is given."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.signer = BareSigner()
        self.lines: list[bytes] = []

    def line(
        self,
        segment: int,
        *events: LogEvent,
        boot: str = "0" * 32,
        monotonic_ns: int = 0,
        utc: str | None = None,
        index: int | None = None,
        previous: str | None = None,
    ) -> bytes:
        last = hashlib.sha256(self.lines[-1]).hexdigest() if self.lines else None
        number = index or len(self.lines) + 1
        document = LogLine(
            device="cam0042",
            epoch="1" * 32,
            generation=1,
            index=number,
            previous=previous or last,
            boot=boot,
            monotonic_ns=monotonic_ns,
            utc=utc,
            events=events or (LogEvent(kind="press", monotonic_ns=monotonic_ns, detail={}),),
        )
        line = LineChain(LOG_PREFIX, self.signer).sign(encode(document))
        with (self.directory / f"{segment:06d}.jsonl").open("ab") as file:
            file.write(line)
        self.lines.append(line)
        return line

    def read(self) -> LogReader:
        return LogReader(log_segments(self.directory), self.signer.public_key)

    def segment(self, number: int) -> Path:
        return self.directory / f"{number:06d}.jsonl"


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    (tmp_path / "log").mkdir()
    return LogMaker(tmp_path / "log")
