"""Lines that are signed one by one and chained by their digests: the core of journal and event log.

A line is `{"l":VALUE,"s":"SIGNATURE"}` and a newline (docs/formats.md, "Two ways of signing"). What is signed
is the prefix, a zero byte, and the bytes of VALUE as stored; a line is never serialised a second time. What
VALUE means, and how it names the line before, is the business of the modules on top.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterator
from typing import BinaryIO

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from evidence.decoding import json_decoder
from evidence.errors import EvidenceError
from evidence.signer import SignatureError, Signer, verify_digest

__all__ = ["LINE_LIMIT_BYTES", "LineChain", "LineReader", "SignedLine", "TamperedError"]

LINE_LIMIT_BYTES = 1024 * 1024
"""A longer line is refused; it bounds what a reader holds in memory."""
_READ_BYTES = 64 * 1024


class TamperedError(EvidenceError):
    """A line is not what its signer wrote; `line` counts from 0 in the file, `reason` says what is wrong."""

    def __init__(self, line: int, reason: str) -> None:
        self.line = line
        self.reason = reason
        super().__init__(f"line {line} is tampered with", found=reason)


class SignedLine(msgspec.Struct, frozen=True, gc=False):
    """A verified line: its number in the file, the exact bytes of `l`, and where the whole line lies."""

    number: int
    value: bytes
    sha256: str
    start: int
    end: int


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The two keys of a line; `l` keeps its exact bytes."""

    l: msgspec.Raw  # noqa: E741 - the name is the format's
    s: str


_envelopes = json_decoder(_Envelope)


class LineChain:
    """Signs values into lines, and keeps the figures of all lines so far.

    It holds no file: the caller appends what `sign` returns, all of it and in order. A chain whose line could
    not be stored is at its end.
    """

    def __init__(self, prefix: bytes, signer: Signer, *, previous: str | None = None) -> None:
        """Begin a file; `previous` is the digest of the last line of the file before, if the chain runs on."""
        self._prefix = prefix + b"\0"
        self._signer = signer
        self._whole = hashlib.sha256()
        self.previous = previous
        self.lines = 0
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        """Digest of all lines of this file so far."""
        return self._whole.hexdigest()

    def sign(self, value: bytes) -> bytes:
        """Return the line for a value (canonical JSON), newline included.

        Raises:
            EvidenceError: the line would be longer than a reader takes.
        """
        signature = self._signer.sign_digest(hashlib.sha256(self._prefix + value).digest())
        line = b'{"l":' + value + b',"s":"' + base64.b64encode(signature) + b'"}\n'
        if len(line) > LINE_LIMIT_BYTES:
            raise EvidenceError(
                "line too long", expected=f"at most {LINE_LIMIT_BYTES} bytes", found=f"{len(line)} bytes"
            )
        self.previous = hashlib.sha256(line).hexdigest()
        self._whole.update(line)
        self.lines += 1
        self.size_bytes += len(line)
        return line


class LineReader:
    """Reads lines from a stream and yields the good ones; holds one line in memory.

    The end of the iteration means that every whole line is good; `torn_bytes` then says how much lies behind
    the last one: a line without newline, or a final run of zero bytes, which is what a power cut leaves. Every
    other defect raises `TamperedError`.
    """

    def __init__(self, stream: BinaryIO, prefix: bytes, public_key: ec.EllipticCurvePublicKey) -> None:
        self._stream = stream
        self._prefix = prefix + b"\0"
        self._public_key = public_key
        self._whole = hashlib.sha256()
        self.lines = 0
        self.size_bytes = 0
        self.torn_bytes = 0

    @property
    def sha256(self) -> str:
        """Digest of all bytes read so far; of the whole file once the iteration has ended."""
        return self._whole.hexdigest()

    def __iter__(self) -> Iterator[SignedLine]:
        """Yield verified lines.

        Raises:
            TamperedError: at the first line that is not good.
        """
        start = 0
        for line in self._split():
            yield self._verified(line, start)
            self.lines += 1
            start += len(line)

    def _split(self) -> Iterator[bytes]:
        """Yield whole lines, newline included; what remains goes to `torn_bytes`."""
        pending = b""
        zeros = 0  # of a run that ends the file, beyond the limit of what is held
        while chunk := self._stream.read(_READ_BYTES):
            self._whole.update(chunk)
            self.size_bytes += len(chunk)
            if zeros:
                if chunk.strip(b"\0"):
                    raise TamperedError(self.lines, "a run of zero bytes does not reach the end of the file")
                zeros += len(chunk)
                continue
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                yield line + b"\n"
            if len(pending) > LINE_LIMIT_BYTES:
                kept = pending.rstrip(b"\0")
                if len(kept) > LINE_LIMIT_BYTES:
                    raise TamperedError(self.lines, f"longer than {LINE_LIMIT_BYTES} bytes")
                zeros = len(pending) - len(kept)
                pending = kept
        self.torn_bytes = len(pending) + zeros

    def _verified(self, line: bytes, start: int) -> SignedLine:
        if len(line) > LINE_LIMIT_BYTES:
            raise TamperedError(self.lines, f"longer than {LINE_LIMIT_BYTES} bytes")
        try:
            envelope = _envelopes.decode(line)
            value = bytes(envelope.l)
            signature = base64.b64decode(envelope.s.encode("ascii"), validate=True)
        except (msgspec.MsgspecError, UnicodeError, RecursionError, binascii.Error) as error:
            raise TamperedError(self.lines, 'not a line of the form {"l":…,"s":"…"}') from error
        if line != b'{"l":' + value + b',"s":"' + base64.b64encode(signature) + b'"}\n':
            raise TamperedError(self.lines, "the same values in another spelling")
        try:
            verify_digest(self._public_key, hashlib.sha256(self._prefix + value).digest(), signature)
        except SignatureError as error:
            raise TamperedError(self.lines, error.what) from error
        return SignedLine(
            number=self.lines,
            value=value,
            sha256=hashlib.sha256(line).hexdigest(),
            start=start,
            end=start + len(line),
        )
