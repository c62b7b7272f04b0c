"""Digests beside the writing thread: the same bytes in the same order, whoever computes them."""

import hashlib
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from evidence.digests import DigestThread, SideDigest

LONG = 128 * 1024
NOISE = hashlib.shake_256(b"noise").digest(3 * LONG)


@given(
    sizes=st.lists(
        st.tuples(st.sampled_from([0, 1, 1000, LONG - 1, LONG, 2 * LONG]), st.booleans()), max_size=8
    )
)
@settings(max_examples=40, deadline=None)
def test_order_and_bytes_are_those_of_the_calls(sizes: list[tuple[int, bool]]) -> None:
    thread = DigestThread()
    digests = SideDigest(thread), SideDigest(thread)
    expected = hashlib.sha256()
    for size, aside in sizes:
        expected.update(NOISE[:size])
        for digest in digests:
            digest.update(NOISE[:size], aside=aside)
    assert {digest.hexdigest() for digest in digests} == {expected.hexdigest()}
    thread.close()
    thread.close()


def test_memory_may_be_used_again_after_the_wait() -> None:
    thread = DigestThread()
    digest, expected = SideDigest(thread), hashlib.sha256()
    memory = bytearray(LONG)
    for number in range(20):
        memory[:] = bytes([number]) * LONG
        expected.update(memory)
        digest.update(memoryview(memory), aside=True)
        digest.wait()
    assert digest.hexdigest() == expected.hexdigest()
    thread.close()


def test_no_thread_without_a_long_update_and_none_after_the_end() -> None:
    thread = DigestThread()
    digest = SideDigest(thread)
    before = threading.active_count()
    digest.update(NOISE, aside=False)
    digest.update(NOISE[: LONG - 1], aside=True)
    assert threading.active_count() == before
    digest.update(NOISE, aside=True)
    assert threading.active_count() == before + 1
    thread.close()
    assert threading.active_count() == before
    assert digest.hexdigest() == hashlib.sha256(NOISE + NOISE[: LONG - 1] + NOISE).hexdigest()
