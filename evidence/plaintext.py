"""What only the key shows of a clip: the digest of its plaintext, and that its media decodes."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evidence.age import AgeError, AgeNoIdentityError, AgePlaintext, Identity
from evidence.documents import Manifest
from evidence.errors import EvidenceError
from evidence.findings import UnknownAnswer
from evidence.media.fragments import initialisation, pieces

if TYPE_CHECKING:
    import av

__all__ = ["check_media", "check_plaintext"]

_BUFFER_BYTES = 1024 * 1024


def check_plaintext(path: Path, manifest: Manifest, identities: Sequence[Identity]) -> str:
    """Decrypt a clip and hold size and digest against the manifest; returns a sentence for people.

    Of an interrupted clip every whole authentic chunk counts, and has to reach what the journal attests.

    Raises:
        UnknownAnswer: no identity opens it.
        EvidenceError: it does not decrypt, or to something else.
        OSError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        plaintext = _open(file, manifest, identities)
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        while count := plaintext.readinto(buffer):
            digest.update(buffer[:count])
            size += count
    if manifest.plaintext is None:
        if size < manifest.attested.plaintext_bytes:
            raise EvidenceError(
                "fewer bytes decrypt than the journal attests",
                expected=f"{manifest.attested.plaintext_bytes} bytes",
                found=f"{size} bytes",
            )
        return f"{size} bytes decrypt; the end is missing"
    if (size, digest.hexdigest()) != (manifest.plaintext.bytes, manifest.plaintext.sha256):
        raise EvidenceError(
            "the plaintext is not the one that the manifest names",
            expected=f"{manifest.plaintext.bytes} bytes, SHA-256 {manifest.plaintext.sha256}",
            found=f"{size} bytes",
        )
    return f"{size} bytes, SHA-256 as the manifest says"


def check_media(path: Path, manifest: Manifest, identities: Sequence[Identity]) -> str:
    """Decode every picture and all sound; returns a sentence for people. Memory does not grow with the clip.

    Raises:
        UnknownAnswer: no identity opens it.
        EvidenceError: it does not decode, or to fewer pictures than the manifest says.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        pictures, sound, defect = _decode(_open(file, manifest, identities))
    short = pictures < manifest.frames or (manifest.complete and pictures != manifest.frames)
    if short or (defect and manifest.complete):
        raise EvidenceError(
            "the media does not decode as the manifest says",
            expected=f"{manifest.frames} pictures",
            found=f"{pictures}{f', then {defect}' if defect else ''}",
        )
    return f"{pictures} pictures and {sound} frames of sound decode"


def _decode(plaintext: AgePlaintext) -> tuple[int, int, str]:
    """Count what decodes, and name what ended it.

    The file goes through the demuxer piece by piece, because its index of a whole one grows with the length.
    """
    import av  # noqa: PLC0415 - 70 ms of CPU, wanted only with an identity

    counts = {"video": 0, "audio": 0}
    decoders: dict[str, av.VideoCodecContext | av.AudioCodecContext] = {}
    try:
        head = initialisation(plaintext)
        for piece in pieces(plaintext, len(head), rest=True):
            with av.open(io.BytesIO(head + piece), "r", format="mp4") as container:
                decoders = decoders or {
                    "video": _decoder(container.streams.video[0]),
                    "audio": _decoder(container.streams.audio[0]),
                }
                for packet in container.demux(video=0, audio=0):
                    if packet.size:
                        counts[packet.stream.type] += len(decoders[packet.stream.type].decode(packet))
        for kind, decoder in decoders.items():
            counts[kind] += len(decoder.decode(None))
    except AgeError:
        raise
    except (av.FFmpegError, ValueError, IndexError, EvidenceError) as error:  # no such track: IndexError
        return counts["video"], counts["audio"], type(error).__name__
    return counts["video"], counts["audio"], ""


def _decoder(stream: "av.VideoStream | av.AudioStream") -> "av.VideoCodecContext | av.AudioCodecContext":
    """Make a decoder that outlives the piece in which the stream was found."""
    import av  # noqa: PLC0415 - as above

    decoder = av.CodecContext.create(stream.codec_context.codec, "r")
    assert isinstance(decoder, av.VideoCodecContext | av.AudioCodecContext)  # the codec is one of these
    decoder.extradata = stream.codec_context.extradata
    return decoder


def _open(file: io.BufferedReader, manifest: Manifest, identities: Sequence[Identity]) -> AgePlaintext:
    try:
        return AgePlaintext(file, identities, interrupted=not manifest.complete)
    except AgeNoIdentityError as error:
        raise UnknownAnswer(str(error)) from error
