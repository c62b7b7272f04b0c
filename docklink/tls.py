"""TLS 1.3, mutual, on any byte stream: the standard library's `ssl` between two memory BIOs.

Roles are judged after the handshake and before the first byte of a request (`docklink.peers`), on the chain
that the peer sent. Python hands out a peer's whole chain publicly from 3.13 on, and in 3.11 and 3.12 through
the object that `SSLObject` wraps; `_peer_chain` uses either, requires that the leaf equals what the public
`getpeercert` says, and refuses the peer if an interpreter offers neither. OpenSSL verifies as well, up to the
same roots, with its time checks off (`X509_V_FLAG_NO_CHECK_TIME`): the dates are `docklink.peers`' business.

There are no session tickets, so no session is ever resumed past that judgement, and no early data.
"""

import contextlib
import re
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import cast

import msgspec
from cryptography import x509

from docklink.errors import LinkError, LinkTimeoutError, PeerRefusedError, ProtocolError, StreamClosedError
from docklink.limits import UNAUTHENTICATED_LIMIT_BYTES
from docklink.peers import Peer, anonymous, judge_camera, judge_dock, judge_self_signed
from docklink.records import RecordEnds
from docklink.streams import ByteStream
from evidence.der import certificate_der

__all__ = ["CameraEnrolment", "CameraTrust", "DockEnrolment", "DockTrust", "TlsStream", "Trust"]

_NO_CHECK_TIME = 0x20_0000  # X509_V_FLAG_NO_CHECK_TIME; `ssl` has no name for it
_HANDSHAKE_READ_BYTES = 16 * 1024
_READ_BYTES = 512 * 1024
_WRITE_BYTES = 256 * 1024
_RECORD_BYTES = 16 * 1024
_ALERT_TIMEOUT_S = 0.5
_REFUSED = re.compile(r"ALERT_(UNKNOWN_CA|(\w+_)?CERTIFICATE(_\w+)?)\Z")  # names of RFC 8446, section 6.2


class CameraTrust(msgspec.Struct, frozen=True):
    """What a camera shows and whom it lets in. Files in PEM form: leaf and intermediates; PKCS #8."""

    chain: Path
    key: Path
    roots: tuple[x509.Certificate, ...]
    time_floor_utc_ns: int
    revoked_serials: AbstractSet[int] = frozenset()


class DockTrust(msgspec.Struct, frozen=True):
    """What a dock shows and whom it reads from; `revocations` as in `docklink.peers.judge_camera`."""

    chain: Path
    key: Path
    roots: tuple[x509.Certificate, ...]
    now_utc_ns: int
    revocations: Mapping[int, int] = {}


class CameraEnrolment(msgspec.Struct, frozen=True):
    """A camera without identity shows a self-signed certificate and lets in whoever comes."""

    chain: Path
    key: Path


class DockEnrolment(msgspec.Struct, frozen=True):
    """A dock takes a self-signed certificate; people compare its fingerprint before anything is sent."""


Trust = CameraTrust | DockTrust | CameraEnrolment | DockEnrolment


class TlsStream:
    """A stream inside another; `peer` is who the other end proved to be."""

    def __init__(self, inner: ByteStream, trust: Trust, *, handshake_timeout_s: float) -> None:
        """Shake hands and judge the peer. `inner` is not closed if that fails.

        Raises:
            PeerRefusedError: the peer is not who it has to be, or refuses us.
            ProtocolError: what came is no TLS 1.3, or too much of it.
            LinkError: the stream failed, or the time was up.
        """
        server_side = isinstance(trust, CameraTrust | CameraEnrolment)
        self.name = "TLS"
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._records = RecordEnds()
        self._lock = threading.Lock()  # OpenSSL's object bears one thread at a time; `close` comes from any
        self._tls = _context(trust).wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._shake_hands(time.monotonic() + handshake_timeout_s)
        self.peer = _judge(self._tls, trust)

    def read(self, limit: int, timeout_s: float) -> bytes | bytearray:
        """Read decrypted bytes; see `ByteStream`. Bytes that complete no record do not prolong the wait."""
        deadline = time.monotonic() + timeout_s
        while True:
            with self._lock:
                held = self._incoming.pending + self._tls.pending()
                buffer = bytearray(min(limit, _READ_BYTES, max(_RECORD_BYTES, held)))
                got = self._decrypt(buffer)
            if got is None:
                return b""
            if got:
                del buffer[got:]
                return buffer
            self._take_record(deadline)

    def write(self, data: bytes | bytearray | memoryview, timeout_s: float) -> None:
        """Write encrypted; see `ByteStream`."""
        rest = memoryview(data)
        with self._lock:
            while rest:
                try:
                    written = self._tls.write(rest[:_WRITE_BYTES])
                except ssl.SSLError as error:
                    raise _explained(error) from error
                rest = rest[written:]
                self._inner.write(self._outgoing.read(), timeout_s)

    def close(self) -> None:
        """Say good-bye, if the line takes it at once, and close the stream inside."""
        if self._lock.acquire(blocking=False):  # else another thread is in the middle of a record
            try:
                self._say_good_bye()
            finally:
                self._lock.release()
        self._inner.close()

    def _say_good_bye(self) -> None:
        with contextlib.suppress(ssl.SSLError, LinkError):  # the other end may be gone; nothing hangs on it
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.unwrap()
            self._flush(_ALERT_TIMEOUT_S)

    def _shake_hands(self, deadline: float) -> None:
        received = 0
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush(deadline - time.monotonic())
            except ssl.SSLError as error:
                with contextlib.suppress(LinkError):  # the alert is a courtesy
                    self._flush(_ALERT_TIMEOUT_S)
                raise _explained(error) from error
            else:
                self._flush(deadline - time.monotonic())
                return
            wait_s = deadline - time.monotonic()
            if wait_s <= 0:
                raise LinkTimeoutError("the TLS handshake did not end in time")
            data = self._inner.read(min(_HANDSHAKE_READ_BYTES, UNAUTHENTICATED_LIMIT_BYTES - received), wait_s)
            received += len(data)
            if not data:
                raise StreamClosedError("the other end closed during the TLS handshake")
            if received >= UNAUTHENTICATED_LIMIT_BYTES:
                raise ProtocolError(
                    "too much before authentication", expected=f"less than {UNAUTHENTICATED_LIMIT_BYTES} bytes"
                )
            self._incoming.write(data)
            self._records.feed(data)

    def _decrypt(self, buffer: bytearray) -> int | None:
        """Fill the buffer from whole records; returns how much, 0 if input is lacking, `None` at the end."""
        got = 0
        with memoryview(buffer) as view:
            while got < len(buffer):
                try:
                    # with a buffer it returns a count; typeshed knows the other form alone
                    count = cast("int", self._tls.read(len(buffer) - got, view[got:]))
                except ssl.SSLWantReadError:
                    break
                except ssl.SSLZeroReturnError:
                    return got or None
                except ssl.SSLError as error:
                    if got:
                        break  # the next read meets it again
                    raise _explained(error) from error
                if not count:
                    return got or None
                got += count
        return got

    def _take_record(self, deadline: float) -> None:
        """Read until there is something for OpenSSL to do: a line brings a record in many small pieces."""
        while True:
            wait_s = deadline - time.monotonic()
            if wait_s < 0:
                raise LinkTimeoutError("no whole TLS record in time")
            data = self._inner.read(_READ_BYTES, wait_s)
            if not data:
                self._incoming.write_eof()
                return
            self._incoming.write(data)
            if self._records.feed(data):
                return

    def _flush(self, timeout_s: float) -> None:
        data = self._outgoing.read()
        if data:
            self._inner.write(data, max(0.0, timeout_s))


def _context(trust: Trust) -> ssl.SSLContext:
    server_side = isinstance(trust, CameraTrust | CameraEnrolment)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # a camera has an id, no host name; the role is what counts
    if server_side:
        context.num_tickets = 0
    if isinstance(trust, CameraTrust | DockTrust):
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags = ssl.VerifyFlags(
            context.verify_flags | _NO_CHECK_TIME | ssl.VERIFY_X509_PARTIAL_CHAIN
        )
        context.load_verify_locations(cadata=b"".join(certificate_der(root) for root in trust.roots))
    else:
        context.verify_mode = ssl.CERT_NONE
    if not isinstance(trust, DockEnrolment):
        try:
            context.load_cert_chain(trust.chain, trust.key)
        except OSError as error:  # SSLError is one
            raise PeerRefusedError(
                f"unusable certificate {trust.chain} or key {trust.key}",
                found=error.strerror or type(error).__name__,
                remedy="issue them again with `preroll keys issue`",
            ) from error
    return context


def _judge(tls: ssl.SSLObject, trust: Trust) -> Peer:
    if isinstance(trust, CameraEnrolment):
        return anonymous()
    chain = _peer_chain(tls)
    if isinstance(trust, CameraTrust):
        return judge_dock(
            chain,
            trust.roots,
            time_floor_utc_ns=trust.time_floor_utc_ns,
            revoked_serials=trust.revoked_serials,
        )
    if isinstance(trust, DockTrust):
        return judge_camera(chain, trust.roots, now_utc_ns=trust.now_utc_ns, revocations=trust.revocations)
    return judge_self_signed(chain)


def _peer_chain(tls: ssl.SSLObject) -> Sequence[bytes]:
    """Return the certificates that the peer sent, DER, leaf first."""
    owner = tls if hasattr(tls, "get_unverified_chain") else getattr(tls, "_sslobj", None)
    get_chain = getattr(owner, "get_unverified_chain", None)
    if get_chain is None:
        raise PeerRefusedError(
            "this Python does not show a peer's certificates", expected="CPython 3.11 or later"
        )
    chain = [
        each if isinstance(each, bytes) else ssl.PEM_cert_to_DER_cert(str(each.public_bytes()))
        for each in get_chain() or ()
    ]
    if not chain or chain[0] != tls.getpeercert(binary_form=True):
        raise PeerRefusedError("the other end has shown no certificate")
    return chain


def _explained(error: ssl.SSLError) -> LinkError:
    """Tell a peer that does not count from a line that lost bytes."""
    reason = error.reason or type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        return PeerRefusedError("the other end's certificate does not count", found=error.verify_message)
    if isinstance(error, ssl.SSLEOFError):
        return StreamClosedError("the other end closed in the middle of a session")
    if "PEER_DID_NOT_RETURN_A_CERTIFICATE" in reason:
        return PeerRefusedError("the other end has shown no certificate")
    if _REFUSED.search(reason):
        return PeerRefusedError("the other end does not accept our certificate", found=reason.lower())
    return ProtocolError("TLS failed", expected="TLS 1.3", found=reason.lower())
