"""What is fuzzed: each target takes any bytes, and may do nothing but return.

A parser says no by an error of the house (`ExplainedError`), which `run` takes. Everything else that escapes a
target is a finding, and so is a failed `assert` about what was accepted.
"""

import io
import re
from collections.abc import Callable, Sequence

import msgspec

from bench.fuzz_keys import identity
from bench.fuzz_link import LINK_TARGETS
from bench.fuzz_signed import SIGNED_TARGETS
from evidence import documents
from evidence.age import (
    AgeError,
    AgePlaintext,
    Identity,
    PassphraseIdentity,
    decrypt_file,
    parse_header,
    parse_identities,
    parse_recipient,
    parse_recipients,
    salvage_file,
)
from evidence.age.armor import ArmorDecoder
from evidence.errors import EvidenceError, ExplainedError
from evidence.media.boxes import BOX_HEADER_BYTES, children, track_run
from evidence.media.fragments import fragments, initialisation, pieces, video_samples

__all__ = ["TARGETS", "Target", "run"]

Target = Callable[[bytes], None]
_SAMPLES_LIMIT = 1 << 20


def run(name: str, data: bytes) -> None:
    """Give a target one input; what its parser refuses is no finding."""
    try:
        TARGETS[name](data)
    except ExplainedError:
        return


def _age_header(data: bytes) -> None:
    header = parse_header(data)
    assert data.startswith(header.raw)
    assert header.stanzas


def _age_file(data: bytes) -> None:
    """Whole, salvaged, and by seeking: what is released must agree."""
    identities: list[Identity] = [identity(), PassphraseIdentity(b"fuzz", max_work_factor=4)]
    whole, salvaged = io.BytesIO(), io.BytesIO()
    whole_error = _caught(lambda: decrypt_file(io.BytesIO(data), whole, identities))
    salvage_error = _caught(lambda: salvage_file(io.BytesIO(data), salvaged, identities))
    if not data.lstrip().startswith(b"-----BEGIN"):  # a clip is never armored; only `decrypt_file` reads that
        assert whole.getvalue() == salvaged.getvalue()
        assert salvage_error is None or whole_error is not None
    for interrupted in (False, True):
        try:
            with AgePlaintext(io.BytesIO(data), identities, interrupted=interrupted) as plaintext:
                found = plaintext.read_range(0, plaintext.plaintext_bytes)
        except AgeError:
            assert whole_error or data.lstrip().startswith(b"-----BEGIN")
            continue
        assert found == whole.getvalue()


def _caught(call: Callable[[], object]) -> AgeError | None:
    try:
        call()
    except AgeError as error:
        return error
    return None


def _age_armor(data: bytes) -> None:
    """In one piece and in pieces: the same bytes, or an error both times."""
    size = data[0] % 60 + 1 if data else 1
    results: list[bytes | None] = []
    for step in (size, max(1, len(data))):
        decoder = ArmorDecoder()
        out = b""
        try:
            for start in range(0, len(data), step):
                out += decoder.feed(data[start : start + step])
            decoder.finish()
        except AgeError:
            results.append(None)
        else:
            results.append(out)
    assert results[0] == results[1]


def _age_keys(data: bytes) -> None:
    """An identity file, a recipients file; a recipient is spelt in one way only."""
    text = data.decode("utf-8", "replace")
    for parse in (parse_identities, parse_recipients):
        if not _refused(parse, text):
            assert text.strip()
    for line in text.split("\n"):
        try:
            recipient = parse_recipient(line)
        except EvidenceError:
            continue
        assert str(recipient) == line


def _refused(parse: Callable[[str], Sequence[object]], text: str) -> bool:
    try:
        return not parse(text)
    except EvidenceError:
        return True


def _documents(data: bytes) -> None:
    """Each type of signed document: what is read encodes to the same bytes."""
    found = re.match(rb'\{"type":"([a-z0-9-]{1,40})"', data)
    kinds = [_KINDS[found[1].decode()]] if found and found[1].decode() in _KINDS else _UNTAGGED
    for kind in kinds:
        try:
            document = documents.decode(data, kind)
        except EvidenceError:
            continue
        assert documents.encode(document) == data


_ALL = [
    each for each in vars(documents).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)
]
_KINDS = {str(each.__struct_config__.tag): each for each in _ALL if each.__struct_config__.tag}
_UNTAGGED = [each for each in _ALL if not each.__struct_config__.tag]


class _Bytes:
    """A plaintext that is all in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.plaintext_bytes = len(data)

    def read_range(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


def _mp4_boxes(data: bytes) -> None:
    """A `moof`, both readers of it."""
    view = memoryview(data)
    for kind in (1, 2):
        try:
            found = track_run(view, kind)
        except EvidenceError:
            continue
        assert len(found.sizes_bytes) < _SAMPLES_LIMIT
    if not _refused_view(view):
        list(children(view[BOX_HEADER_BYTES:]))


def _refused_view(view: memoryview) -> bool:
    try:
        return len(video_samples(view)) >= _SAMPLES_LIMIT
    except EvidenceError:
        return True


def _mp4_fragments(data: bytes) -> None:
    """A file: start, fragments, and the pieces that a demuxer is given."""
    plaintext = _Bytes(data)
    try:
        start = len(initialisation(plaintext))
    except EvidenceError:
        start = 0
    place = start
    try:
        for fragment in fragments(plaintext, start):
            assert place <= fragment.start_bytes < fragment.end_bytes <= len(data)
            place = fragment.end_bytes
    except EvidenceError:
        place = len(data)
    joined = b"".join(pieces(plaintext, start, rest=True))
    assert data[start:].startswith(joined)


TARGETS: dict[str, Target] = {
    "age_header": _age_header,
    "age_file": _age_file,
    "age_armor": _age_armor,
    "age_keys": _age_keys,
    "documents": _documents,
    "mp4_boxes": _mp4_boxes,
    "mp4_fragments": _mp4_fragments,
    **SIGNED_TARGETS,
    **LINK_TARGETS,
}
"""The targets by name; each has a directory of inputs in tests/corpus."""
