"""The rules of recovery without I/O: what stays, what goes, and that they come to rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.documents import Blob, ClipEnd, ClipStart, SyncPoint, decode
from evidence.interrupted import (
    UNATTESTED_LIMIT_BYTES,
    UNATTESTED_LIMIT_NS,
    plan_recovery,
    unattested_limit_bytes,
)
from evidence.manifest import JournalSummary

SEALED = 65_536 + 16
HEADER = Blob(bytes=200, sha256="0" * 64)
PAYLOAD = 216
FIRST_PTS_NS = 9_089_888_000_000


def _example(kind: str) -> bytes:
    import re
    from pathlib import Path

    text = (Path(__file__).parents[3] / "docs" / "formats.md").read_text("utf-8")
    (found,) = re.findall(rf'```json\n(\{{"type":"{kind}".*?)\n```', text)
    return str(found).encode()


START = decode(_example("preroll-clip-start-v1"), ClipStart)
SYNC = decode(_example("preroll-sync-v1"), SyncPoint)
END = decode(_example("preroll-end-v1"), ClipEnd)


def summary(chunks: int = 0, duration_ns: int = 500_000_000) -> JournalSummary:
    import msgspec

    made = JournalSummary(START, "0" * 64)
    if chunks:
        made.add(
            msgspec.structs.replace(
                SYNC,
                ciphertext_bytes=PAYLOAD + chunks * SEALED,
                plaintext_bytes=chunks * 65_536,
                last_pts_ns=FIRST_PTS_NS + duration_ns,
            )
        )
    return made


def test_four_seconds_at_the_attested_rate_or_eight_mebibytes() -> None:
    assert unattested_limit_bytes(summary()) == UNATTESTED_LIMIT_BYTES
    slow = unattested_limit_bytes(summary(chunks=100, duration_ns=60_000_000_000))
    assert SEALED < slow < 100 * SEALED * UNATTESTED_LIMIT_NS // 60_000_000_000
    assert unattested_limit_bytes(summary(chunks=1000, duration_ns=1_000_000_000)) == UNATTESTED_LIMIT_BYTES
    assert unattested_limit_bytes(summary(chunks=1, duration_ns=10**13)) == SEALED


def test_nothing_may_follow_the_last_line() -> None:
    ended = summary(1)
    ended.add(END)
    assert unattested_limit_bytes(ended) == 0
    plan = plan_recovery(ended, END.ciphertext_bytes + 1, HEADER)
    assert plan.keep_bytes == END.ciphertext_bytes


@pytest.mark.parametrize(
    ("size", "header", "cut", "removed"),
    [
        (0, None, True, True),
        (100, None, True, True),
        (100, None, False, False),  # no header at all: kept, and shown
        (PAYLOAD, HEADER, False, True),
        (PAYLOAD + 16, HEADER, False, True),  # a tag and no byte of plaintext
        (PAYLOAD + 17, HEADER, False, False),
    ],
)
def test_a_claim_holds_nothing_before_its_first_byte_of_payload(
    size: int, header: Blob | None, cut: bool, removed: bool
) -> None:
    assert plan_recovery(summary(), size, header, header_cut=cut).remove is removed


@given(
    chunks=st.integers(0, 400),
    duration_ns=st.integers(1, 10**13),
    beyond=st.integers(0, 20 * 1024 * 1024),
    whole_header=st.booleans(),
)
def test_a_plan_keeps_what_is_attested_caps_the_rest_and_is_its_own_outcome(
    chunks: int, duration_ns: int, beyond: int, whole_header: bool
) -> None:
    made = summary(chunks, duration_ns)
    attested = made.attested().ciphertext_bytes
    header = HEADER if whole_header or chunks else None
    size = attested + beyond
    plan = plan_recovery(made, size, header)
    if plan.remove:
        assert chunks == 0
        return
    assert plan.keep_bytes is not None
    assert attested <= plan.keep_bytes <= min(size, attested + UNATTESTED_LIMIT_BYTES)
    if plan.keep_bytes < size and header is not None:
        base = max(attested, PAYLOAD)
        assert (plan.keep_bytes - base) % SEALED == 0
    again = plan_recovery(made, plan.keep_bytes, header)
    assert again == plan
