"""Fuzz targets of what is signed: lines, journals, logs, CMS, certificates, lists, documents beside clips.

`lines`, `cms`, `certificate` and `crl` read bytes as they come, against the certificates kept with the corpus.
`journal`, `eventlog` and `attestations` sign the input with a key of this process and read it behind the
signature.
"""

import functools
import io
import re
from collections.abc import Callable, Iterable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from bench.fuzz_keys import FRESH, context, scratch
from evidence.attestations import read_disposal, read_head, read_receipt, read_signed, read_tombstone
from evidence.cms import CmsSigner, sign_cms, verify_cms
from evidence.der import certificate_der, load_certificate
from evidence.documents import LogHead, Manifest, Receipt, decode
from evidence.errors import EvidenceError
from evidence.eventlog import LOG_PREFIX, LogEntry, LogReader, first_entry, lines_between, log_segments
from evidence.journal import JOURNAL_PREFIX, JournalReader
from evidence.lines import LineChain, LineReader
from evidence.paths import leaf_identity, verify_path
from evidence.revocation import Revocations, load_crl
from evidence.roles import Role
from evidence.signer import SoftwareSigner

__all__ = ["CMS_CONTENT", "SIGNED_TARGETS"]

CMS_CONTENT = b"preroll-fuzz"
"""What the kept CMS files sign."""
_DEVICE = "cam0042"
_EPOCH = "5e1f2a6c0d9b4e7f8a1b2c3d4e5f6071"
_SPLIT = b"\n---\n"
_PREVIOUS = re.compile(rb'"previous":"[0-9a-f]{64}"')


def _lines(data: bytes) -> None:
    """Signed lines as they lie there."""
    key = context("evidence.pem")[0].public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    reader = LineReader(io.BytesIO(data), JOURNAL_PREFIX, key)
    end = 0
    for line in reader:
        assert data[line.start : line.end].endswith(b"\n")
        end = line.end
    assert end + reader.torn_bytes == len(data) == reader.size_bytes


def _resigned(data: bytes, prefix: bytes) -> bytes:
    """Return the lines of the input, signed; where one names the line before, it gets the digest of that."""
    chain = LineChain(prefix, FRESH.signer(Role.CAMERA_EVIDENCE))
    lines = []
    for value in filter(None, data.split(b"\n")):
        previous = b'"previous":"%s"' % (chain.previous or "0" * 64).encode()
        lines.append(chain.sign(_PREVIOUS.sub(previous, value, count=1)))
    return b"".join(lines)


def _journal(data: bytes) -> None:
    """A journal behind its signatures."""
    file = _resigned(data, JOURNAL_PREFIX)
    reader = JournalReader(io.BytesIO(file), FRESH.signer(Role.CAMERA_EVIDENCE).public_key)
    count = sum(1 for _ in reader)
    assert count == reader.figures.lines
    assert reader.figures.bytes == len(file)


def _eventlog(data: bytes) -> None:
    """A log of two files behind its signatures, and what connects its ends."""
    files = {
        f"log/{number:06d}.jsonl": _resigned(part, LOG_PREFIX)
        for number, part in enumerate(data.split(_SPLIT, 1), 1)
    }
    key = FRESH.signer(Role.CAMERA_EVIDENCE).public_key
    with scratch(files) as place:
        segments = log_segments(place / "log")
        reader = LogReader(segments, key)
        entries = list(reader)
        for segment in segments:
            first_entry(segment, key)
        if reader.head is not None:
            _quiet(functools.partial(_connected, entries, reader.head))


def _connected(entries: list[LogEntry], head: LogHead) -> None:
    for _ in lines_between(entries, None, head):
        """Only whether it connects matters."""


def _cms(data: bytes) -> None:
    """A signature file of the kept camera; what passes must be one that the camera made."""
    signer = verify_cms(CMS_CONTENT, data)
    for role in Role:
        _quiet(
            functools.partial(verify_path, signer.leaf, signer.intermediates, context("root.pem"), role, None)
        )
    assert signer.leaf.public_key() == context("evidence.pem")[0].public_key()


def _certificate(data: bytes) -> None:
    """One certificate: as a leaf, as an intermediate, and as what is trusted."""
    certificate = load_certificate(data)
    leaf, *others = context("evidence.pem")
    roots = context("root.pem")
    assert certificate_der(certificate) == data
    for role in (Role.CAMERA_EVIDENCE, Role.CUSTODIAN):
        for call in _paths(certificate, leaf, others, roots, role):
            _quiet(call)


def _paths(
    given: x509.Certificate,
    leaf: x509.Certificate,
    others: list[x509.Certificate],
    roots: tuple[x509.Certificate, ...],
    role: Role,
) -> Iterable[Callable[[], object]]:
    yield lambda: leaf_identity(given, role)
    yield lambda: verify_path(given, others, roots, role, None)
    yield lambda: verify_path(leaf, [given], roots, role, 0)
    yield lambda: verify_path(leaf, others, [given], role, None)
    yield lambda: verify_path(given, [], [given], role, None)


def _crl(data: bytes) -> None:
    """A revocation list, and what it says of a path."""
    with scratch({"list.crl": data}) as place:
        lists = Revocations([load_crl(place / "list.crl")])
    assert lists.facts
    leaf, *others = context("evidence.pem")
    lists.standing(CmsSigner(leaf=leaf, intermediates=tuple(others)), context("root.pem"))


def _attestations(data: bytes) -> None:
    """Head, disposal, receipt and tombstone: documents behind their signatures, in their places."""
    parts = [*data.split(_SPLIT), b"", b""]
    head, disposal = f"{_DEVICE}/{_EPOCH}", "notime-cam0042-000318"
    camera, dock, custodian = (
        FRESH.signer(each) for each in (Role.CAMERA_EVIDENCE, Role.DOCK_RECEIPT, Role.CUSTODIAN)
    )
    line = LineChain(JOURNAL_PREFIX, camera).sign(parts[1]) if len(parts[1]) < 1 << 19 else b""
    clip = _clip_of(parts[0])
    files = {
        **_signed(head, parts[0], camera),
        **_signed(disposal, parts[0], custodian),
        **_signed("receipt", parts[0], dock),
        **_signed(f"{clip}/manifest", parts[0], camera),
        f"{clip}/journal.jsonl": line,
        **_signed(f"{clip}/receipt", parts[2], dock),
    }
    with scratch(files) as place:
        _quiet(lambda: read_signed(place / "receipt.json", Receipt, FRESH.roots, Role.DOCK_RECEIPT))
        _quiet(lambda: read_head(place / f"{head}.json", FRESH.roots))
        _quiet(lambda: read_disposal(place / f"{disposal}.json", FRESH.roots))
        _quiet(lambda: read_tombstone(place / clip, FRESH.roots))
        manifest = decode(parts[0], Manifest)
        read_receipt(place / clip / "receipt.json", manifest, (parts[0], b""), FRESH.roots)


def _clip_of(manifest: bytes) -> str:
    """Name the directory as the manifest would have it, so that the reader comes past that."""
    try:
        return decode(manifest, Manifest).clip
    except EvidenceError:
        return "clip"


def _signed(name: str, content: bytes, signer: SoftwareSigner) -> dict[str, bytes]:
    return {f"{name}.json": content, f"{name}.p7s": sign_cms(content, signer)}


def _quiet(call: Callable[[], object]) -> None:
    """Call what may refuse."""
    try:
        call()
    except EvidenceError:
        return


SIGNED_TARGETS: dict[str, Callable[[bytes], None]] = {
    "lines": _lines,
    "journal": _journal,
    "eventlog": _eventlog,
    "cms": _cms,
    "certificate": _certificate,
    "crl": _crl,
    "attestations": _attestations,
}
