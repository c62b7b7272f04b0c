"""What waits for a thread comes out in order, and nobody waits longer than asked."""

import queue
import signal
import threading

import pytest

from device.inbox import Inbox

ROUNDS = 20_000
"""`queue.SimpleQueue` waited for ever within a thousand, with three busy threads."""


def test_items_come_out_in_order() -> None:
    inbox: Inbox[int] = Inbox()
    for number in range(5):
        inbox.put(number)
    assert [inbox.get() for _ in range(5)] == list(range(5))
    assert inbox.empty()
    with pytest.raises(queue.Empty):
        inbox.get(0)


def test_who_waits_is_woken_by_each_item() -> None:
    inbox: Inbox[int] = Inbox()
    taken: queue.Queue[int] = queue.Queue()

    def take() -> None:
        while (item := inbox.get()) >= 0:
            taken.put(item)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    for number in range(1000):
        inbox.put(number)
        if number % 3 == 0:
            assert taken.get(timeout=60) >= 0
    inbox.put(-1)
    thread.join(60)
    assert not thread.is_alive()


def test_many_who_put_at_once_lose_nothing() -> None:
    inbox: Inbox[int] = Inbox()

    def put() -> None:
        for _ in range(500):
            inbox.put(1)

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert sum(inbox.get(60) for _ in range(4000)) == 4000
    for thread in threads:
        thread.join()


def test_a_signal_handler_may_put_while_its_thread_waits() -> None:
    inbox: Inbox[int] = Inbox()
    before = signal.signal(signal.SIGALRM, lambda _number, _frame: inbox.put(7))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert inbox.get(60) == 7
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_time_that_is_over_before_it_is_looked_at_is_over() -> None:
    """On a busy machine, with times as short as a panel's: the next step of a light may be due at once."""
    inbox: Inbox[int] = Inbox()
    over = threading.Event()

    def spin() -> None:
        while not over.is_set():
            sum(range(1000))

    def wait_often() -> None:
        for number in range(ROUNDS):
            inbox.put(number)
            inbox.get()
            with pytest.raises(queue.Empty):
                inbox.get((number % 5) * 1e-6)

    busy = [threading.Thread(target=spin) for _ in range(2)]
    waiting = threading.Thread(target=wait_often, daemon=True)
    for thread in (*busy, waiting):
        thread.start()
    waiting.join(120)
    over.set()
    for thread in busy:
        thread.join()
    assert not waiting.is_alive()
