"""Makes the kept corpus of the fuzz targets from real pieces: documents, clips, certificates.

    python -m bench.fuzz_seeds

Files that are there stay, because each was signed with keys that are gone; so this fills gaps, and makes all
of it anew after `tests/corpus` was removed (inputs that once found something are called `found-…`).
"""

import base64
import datetime as dt
import io
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import msgspec
from cryptography.hazmat.primitives import serialization

from bench.footage import Scene, make_footage
from bench.fuzz_keys import CORPUS, identity, issued
from bench.fuzz_signed import CMS_CONTENT
from docklink.messages import (
    Battery,
    ClipEntry,
    ClipPage,
    ClipState,
    ClockReport,
    Device,
    Probe,
    Problem,
    RecorderState,
    SetClock,
    SignedDocument,
    Storage,
    TombstoneEntry,
    TombstonePage,
    WearerAssignment,
    encode_message,
)
from docklink.resync import ANSWER_MAGIC, ASK_MAGIC, frame
from evidence.age import AgeWriter, generate_identity, identity_file_text
from evidence.clock import ClockSource
from evidence.cms import sign_cms
from evidence.der import certificate_der
from evidence.documents.fields import ConfigRef
from evidence.journal import JOURNAL_PREFIX
from evidence.lines import LineChain
from evidence.revoke import revoke
from evidence.roles import Role

__all__ = ["main"]

_DOCS = Path(__file__).parents[1] / "docs"
_SPLIT = b"\n---\n"
_SHORT_CONFIG = b'[device]\nid = "cam0042"\n[policy]\nrecipients = ["age1x"]\n'


def main() -> None:
    """Write what is not there yet."""
    if not (CORPUS / "context").exists():
        _store(_signed_seeds())
    _store(_age_seeds())
    _store(_document_seeds())
    _store(_media_seeds())
    _store(_link_seeds())


def _store(seeds: Iterator[tuple[str, bytes]]) -> None:
    for name, data in seeds:
        path = CORPUS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(data)


def _signed_seeds() -> Iterator[tuple[str, bytes]]:
    """Everything under one agency; its private keys are gone when this returns."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        roots, signers = issued(place)
        camera = signers[Role.CAMERA_EVIDENCE]
        pem = serialization.Encoding.PEM
        yield "context/root.pem", b"".join(each.public_bytes(pem) for each in roots)
        yield "context/evidence.pem", b"".join(each.public_bytes(pem) for each in camera.chain)
        yield "cms/signature", sign_cms(CMS_CONTENT, camera)
        yield "cms/other-content", sign_cms(b"other", camera)
        yield "certificate/root", certificate_der(roots[0])
        yield "certificate/enrol", certificate_der(camera.chain[1])
        for role, signer in signers.items():
            yield f"certificate/{role.value}", certificate_der(signer.chain[0])
        chain = LineChain(JOURNAL_PREFIX, camera)
        lines = [chain.sign(value) for value in _journal_values()]
        yield "lines/whole", b"".join(lines)
        yield "lines/torn", b"".join(lines)[:-40]
        yield "lines/zeros", lines[0] + bytes(100)
        then = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        for stem, name in (("camera/evidence.pem", "enrol"), ("custodian/custodian.pem", "again")):
            revoked = revoke(place / stem, place / "agency", "key compromise", effective=then)
            yield f"crl/{name}", revoked.crl.read_bytes()


def _age_seeds() -> Iterator[tuple[str, bytes]]:
    opener = identity()
    for name, size in (("empty", 0), ("short", 40), ("chunks", 65_600)):
        out = io.BytesIO()
        writer = AgeWriter([opener.recipient()], lambda piece, out=out: out.write(piece))  # type: ignore[misc]  # mypy infers no type for a lambda with a default
        writer.write(bytes(size))
        writer.close()
        yield f"age_file/{name}", out.getvalue()
        if name == "short":
            yield "age_header/one", writer.header_bytes
            yield "age_armor/short", _armored(out.getvalue())
            yield "age_file/armored", _armored(out.getvalue())
    several = io.BytesIO()
    recipients = [generate_identity(post_quantum=True).recipient() for _ in range(2)]
    yield "age_header/hybrid", AgeWriter(recipients, several.write).header_bytes
    scrypt = (
        b"age-encryption.org/v1\n-> scrypt rF0/NwblUHHTpgQgRpe5CQ 2\n"
        b"gUjEymFKMVXQEKdMMHL24oYexjE3TIC0O0zGSqJ2aUY\n--- " + b"A" * 43 + b"\n"
    )
    yield "age_header/scrypt", scrypt
    yield "age_file/scrypt", scrypt + bytes(32)
    for name, post_quantum in (("x25519", False), ("hybrid", True)):
        fresh = generate_identity(post_quantum=post_quantum)
        yield (
            f"age_keys/{name}-identity",
            identity_file_text(fresh, created_utc="2026-01-01T00:00:00Z").encode(),
        )
        yield f"age_keys/{name}-recipient", f"# one\n\n{fresh.recipient()}\r\n".encode()


def _armored(data: bytes) -> bytes:
    text = base64.b64encode(data)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join((b"-----BEGIN AGE ENCRYPTED FILE-----", *lines, b"-----END AGE ENCRYPTED FILE-----", b""))


def _examples() -> dict[str, bytes]:
    text = (_DOCS / "formats.md").read_text("utf-8")
    found = re.findall(r"```json\n(\{.*?\})\n```", text, re.DOTALL)
    return {msgspec.json.decode(each)["type"]: each.encode() for each in found if '"type"' in each}


def _journal_values() -> list[bytes]:
    examples = _examples()
    return [examples[f"preroll-{name}-v1"] for name in ("clip-start", "sync", "end")]


def _numbered(value: bytes, line: int) -> bytes:
    return re.sub(rb'"line":[0-9]+', b'"line":%d' % line, value)


def _document_seeds() -> Iterator[tuple[str, bytes]]:
    examples = _examples()
    for kind, text in examples.items():
        yield f"documents/{kind}", text
    start, sync, end = _journal_values()
    lines = (start, _numbered(sync, 1), _numbered(sync, 2), _numbered(end, 3))
    yield "journal/four", b"\n".join(lines)
    log = examples["preroll-log-v1"]
    yield "eventlog/two-files", log + _SPLIT + log.replace(b'"index":8813', b'"index":8814')
    first = re.sub(rb'"index":8813,"previous":"[0-9a-f]+"', b'"index":1,"previous":null', log)
    yield "eventlog/first", first
    for name in ("head", "disposal", "receipt"):
        yield f"attestations/{name}", examples[f"preroll-{name}-v1"]
    parts = (examples[f"preroll-{name}-v1"] for name in ("manifest", "clip-start", "receipt"))
    yield "attestations/tombstone", _SPLIT.join(parts)


def _media_seeds() -> Iterator[tuple[str, bytes]]:
    scene = Scene(seconds=1, width=64, height=64, bitrate_bps=20_000)
    with tempfile.TemporaryDirectory() as folder:
        data = _fragmented(make_footage(Path(folder) / "footage.mp4", scene), Path(folder) / "fragmented.mp4")
    yield "mp4_fragments/whole", data
    yield "mp4_fragments/torn", data[: len(data) * 2 // 3]
    place = data.index(b"moof") - 4
    yield "mp4_boxes/moof", data[place : place + int.from_bytes(data[place : place + 4], "big")]


def _fragmented(source: Path, target: Path) -> bytes:
    options = {"movflags": "empty_moov+default_base_moof+frag_keyframe"}
    with av.open(str(source)) as given, av.open(str(target), "w", format="mp4", options=options) as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    return target.read_bytes()


def _link_seeds() -> Iterator[tuple[str, bytes]]:
    nonce = bytes(range(16))
    record = b"\x17\x03\x03\x00\x05hello"
    yield "line/session", b"noise" + frame(ASK_MAGIC, nonce) + record * 2
    yield "line/answer", b"noise" + frame(ANSWER_MAGIC, nonce) + record
    yield "requests/clips", b"GET /v1/clips?after=notime-cam0042-000318\nbytes=0-99"
    yield "requests/file", b"GET /v1/clips/notime-cam0042-000318/clip.mp4.age\nbytes=-5"
    yield "requests/range", b"GET /v1/device\nbytes 0-99/200"
    for name, message in _messages().items():
        yield f"messages/{name}", encode_message(message)
    yield "device_config/short", _SHORT_CONFIG
    controls = re.findall(r"```toml\n(.*?)```", (_DOCS / "controls.md").read_text("utf-8"), re.DOTALL)
    yield "device_config/controls", _SHORT_CONFIG + controls[0].encode()


def _messages() -> dict[str, object]:
    digest, hexadecimal, clip = "0a" * 32, "0f" * 16, "notime-cam0042-000318"
    utc = "2026-11-22T03:55:23.514000Z"
    signed = SignedDocument(b"{}", b"cms")
    clock = ClockReport(hexadecimal, 9, utc, ClockSource.DOCK, 5, 7)
    entry = ClipEntry(clip, hexadecimal, 318, ClipState.SEALED, 1000, digest, urgent=True)
    return {
        "device": Device(
            device="cam0042",
            epoch=hexadecimal,
            generation=1,
            firmware="1",
            recorder=RecorderState.READY,
            battery=Battery(50, charging=True),
            storage=Storage(100, 50, 1),
            temperature_millicelsius=41_000,
            clock=clock,
            config=ConfigRef(3, digest),
            wearer="w17",
            link_not_after_utc=utc,
        ),
        "clips": ClipPage((entry,), more=False),
        "tombstones": TombstonePage((TombstoneEntry(clip, b"{}", signed, signed),), more=True),
        "probe": Probe(1_800_000_000_000_000_000),
        "set": SetClock(hexadecimal, 1_800_000_000_000_000_000, 5, 6, 1_800_000_000_000_000_009, 100),
        "wearer": WearerAssignment("w17", utc, utc.replace("2026", "2027")),
        "problem": Problem(404, "no", "nothing there", "clip"),
    }


if __name__ == "__main__":
    main()
