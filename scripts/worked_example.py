"""The worked example of the clip format: every byte from secrets that docs/worked-example.md prints.

Nothing here is random: the age writer's randomness is replaced by the numbers of the page, and signatures are
made deterministically (RFC 6979), which a verifier cannot tell from any other. Instead of footage the plaintext
is a count, so that the page can say what it is in one line; how footage is laid out is formats.md's business.
"""

import base64
import hashlib
from types import SimpleNamespace
from unittest import mock

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from evidence.age.x25519 import X25519Identity
from evidence.cipherfile import CipherFile
from evidence.clock import ClockSource
from evidence.documents import (
    AudioFacts,
    ClipEnd,
    ClipStart,
    Clock,
    ConfigRef,
    Ended,
    MediaFacts,
    Requested,
    SyncPoint,
    Trigger,
    VideoFacts,
    encode,
)
from evidence.frames import SilenceCause, Span
from evidence.journal import JournalBuilder
from evidence.manifest import BytesPresent, JournalSummary, build_manifest
from evidence.media.boxes import free_box, prft_box

__all__ = ["example_ciphertext", "worked_example"]

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SCALAR = 1_234_567_890
_IDENTITY = bytes(range(32))
_EPHEMERAL = bytes(range(32, 64))
_RANDOM = b"\x07"
_PLAINTEXT = bytes(index % 251 for index in range(65_536 + 1_000))
_PRESS_NS = 61_000_000_000
_FIRST_NS = 60_000_000_000
_DIGEST = hashlib.sha256(b"config.json").hexdigest()


class _ExampleSigner:
    """Signs with a key that everybody knows, the same way each time."""

    def __init__(self) -> None:
        self._key = ec.derive_private_key(_SCALAR, ec.SECP256R1())
        self.public_key = self._key.public_key()
        self.chain = ()

    def sign_digest(self, digest: bytes) -> bytes:
        """Sign a digest; the smaller of the two values of `s`."""
        algorithm = ec.ECDSA(Prehashed(hashes.SHA256()), deterministic_signing=True)
        r, s = decode_dss_signature(self._key.sign(digest, algorithm))
        return encode_dss_signature(r, min(s, _ORDER - s))


class _MemoryFile:
    """An append file that is a buffer."""

    def __init__(self) -> None:
        self.data = bytearray()

    @property
    def size_bytes(self) -> int:
        """Bytes so far."""
        return len(self.data)

    def append(self, data: bytes | memoryview) -> None:
        """Take all of it."""
        self.data += data

    def sync(self) -> None:
        """Nothing to wait for."""

    def close(self) -> None:
        """Nothing to release."""


def _start(recipient: str) -> ClipStart:
    return ClipStart(
        clip="notime-cam-example-000001",
        device="cam-example",
        epoch="00112233445566778899aabbccddeeff",
        generation=1,
        number=1,
        previous_start=None,
        log=None,
        trigger=Trigger(source="button", edge_ns=_PRESS_NS),
        preevent=Requested(requested_ns=1_000_000_000, available_ns=1_000_000_000, shortfall=None),
        first_pts_ns=_FIRST_NS,
        boot="0f0e0d0c0b0a09080706050403020100",
        monotonic_ns=61_010_000_000,
        utc=None,
        clock=Clock(source=ClockSource.NONE, error_ns=None, set_ns=None),
        config=ConfigRef(version=0, sha256=_DIGEST),
        recipients=(recipient,),
        wearer=None,
        media=MediaFacts(
            video=VideoFacts(codec="h264", width=640, height=360, rate_num=30, rate_den=1),
            audio=AudioFacts(codec="aac", sample_rate=48_000, channels=1),
        ),
        firmware="0.1.0",
    )


def _make() -> tuple[_ExampleSigner, str, _MemoryFile, list[bytes], bytes]:
    """Return signer, recipient, ciphertext, the journal's lines, and the manifest."""
    signer, file = _ExampleSigner(), _MemoryFile()
    recipient = X25519Identity(_IDENTITY).recipient()
    fixed = SimpleNamespace(generate=lambda: X25519PrivateKey.from_private_bytes(_EPHEMERAL))
    journal = JournalBuilder(signer)
    start = _start(str(recipient))
    lines = [journal.line(start)]
    summary = JournalSummary(start, journal.previous)
    with (
        mock.patch("os.urandom", lambda count: _RANDOM * count),
        mock.patch("evidence.age.x25519.X25519PrivateKey", fixed),
    ):
        cipher = CipherFile((recipient,), file, lambda: None)
    cipher.write(_PLAINTEXT[:65_536])
    cipher.flush_full()
    silence = Span(_FIRST_NS, _PRESS_NS, SilenceCause.POLICY_BEFORE_PRESS)
    point = SyncPoint(
        line=1,
        previous=journal.previous,
        ciphertext_bytes=cipher.ciphertext_bytes,
        plaintext_bytes=cipher.plaintext_sealed,
        interval=cipher.sync(),
        frames=30,
        last_pts_ns=60_966_666_666,
        gaps=(),
        silences=(silence,),
        bookmarks=(),
        triggers=(),
        monotonic_ns=61_020_000_000,
    )
    lines.append(journal.line(point))
    cipher.write(_PLAINTEXT[65_536:])
    cipher.close()
    end = ClipEnd(
        line=2,
        previous=journal.previous,
        ciphertext_bytes=cipher.ciphertext_bytes,
        plaintext_bytes=cipher.plaintext_sealed,
        interval=cipher.sync(),
        frames=60,
        last_pts_ns=61_966_666_666,
        gaps=(),
        silences=(),
        bookmarks=(),
        triggers=(),
        monotonic_ns=62_050_000_000,
        ended=Ended.STOPPED,
        stop_ns=62_000_000_000,
        ciphertext=cipher.ciphertext,
        plaintext=cipher.plaintext,
        header=cipher.header,
        duration_ns=2_000_000_000,
    )
    lines.append(journal.line(end))
    for document in (point, end):
        summary.add(document)
    present = BytesPresent(journal=journal.figures, ciphertext=end.ciphertext, header=end.header)
    return signer, str(recipient), file, lines, encode(build_manifest(summary, present))


def example_ciphertext() -> bytes:
    """Return the example's clip.mp4.age."""
    return bytes(_make()[2].data)


def worked_example() -> str:
    """Return docs/worked-example.md."""
    signer, recipient, file, lines, manifest = _make()
    header_end = file.data.index(b"\n--- ")
    header_end = file.data.index(b"\n", header_end + 1) + 1
    numbers = signer.public_key.public_numbers()
    identity = X25519Identity(_IDENTITY).secret_text()
    ciphertext = hashlib.sha256(file.data).hexdigest()
    first = base64.b64encode(bytes(file.data[header_end + 16 : header_end + 16 + 48])).decode()
    parts = [
        "# A worked example",
        "Written by `make docs`; a test makes it again and compares. Every byte follows from what is printed",
        "here and from [formats.md](formats.md), so another implementation can be held against it.",
        "",
        "## Given",
        "",
        "| what | value |",
        "|---|---|",
        f"| signing key, the private number | {_SCALAR} |",
        f"| its public point, x | `{numbers.x:064x}` |",
        f"| its public point, y | `{numbers.y:064x}` |",
        "| signatures | deterministic (RFC 6979, SHA-256), the smaller `s` |",
        f"| identity | `{identity}` |",
        f"| recipient | `{recipient}` |",
        f"| ephemeral X25519 secret of the stanza | `{_EPHEMERAL.hex()}` |",
        f"| age file key, and payload nonce | 16 bytes `{_RANDOM.hex()}` each |",
        f"| plaintext | {len(_PLAINTEXT):,} bytes; byte number i, from 0, is i modulo 251 (no footage) |",
        f"| `config.json` | digest `{_DIGEST}` |",
        "",
        "## `clip.mp4.age`",
        "",
        f"The header, {header_end} bytes, newline at its end included:",
        "",
        "```",
        bytes(file.data[:header_end]).decode("ascii").rstrip("\n"),
        "```",
        "",
        "Then the nonce, one chunk of 64 KiB, and the final chunk of 1,000 bytes, each with its tag of 16",
        f"bytes. The first 48 bytes after the nonce, in base64: `{first}`.",
        f"The whole file has {len(file.data):,} bytes and the SHA-256 `{ciphertext}`.",
        "",
        "## `journal.jsonl`",
        "",
        "Three lines: line 0; a sync point after the first chunk; the last line.",
        "",
        "```json",
        b"".join(lines).decode("utf-8").rstrip("\n"),
        "```",
        "",
        f"Digests of the lines, newline included: {', '.join(_digests(lines))}.",
        "",
        "## `manifest.json`",
        "",
        "```json",
        manifest.decode("utf-8"),
        "```",
        "",
        f"{len(manifest):,} bytes, without a newline; SHA-256 `{hashlib.sha256(manifest).hexdigest()}`.",
        "",
        "## Boxes",
        "",
        "A `prft` for 2026-11-22T03:54:53.5Z at media time 90,000 of track 1, and the smallest `free`:",
        "",
        f"    {prft_box(1, 1_795_319_693_500_000_000, 90_000).hex()}",
        f"    {free_box(8).hex()}",
        "",
    ]
    return "\n".join(parts)


def _digests(lines: list[bytes]) -> list[str]:
    return [f"`{hashlib.sha256(line).hexdigest()}`" for line in lines]
