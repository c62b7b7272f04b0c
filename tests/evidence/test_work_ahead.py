"""Work in a second thread: in the order given, never further behind than the limit, and no error is lost."""

import threading
from functools import partial

import pytest

from evidence.ahead import WorkThread
from evidence.errors import EvidenceError


def _put_often(work: WorkThread) -> None:
    for _ in range(4):  # more often than the limit
        work.put(lambda: None)


def test_jobs_are_done_in_the_order_given_by_one_other_thread() -> None:
    work = WorkThread("ahead", 2)
    done: list[tuple[int, str]] = []
    for number in range(50):
        work.put(partial(lambda n: done.append((n, threading.current_thread().name)), number))
    work.wait()
    assert done == [(number, "ahead") for number in range(50)]
    work.close()


def test_nobody_is_further_ahead_than_the_limit() -> None:
    work = WorkThread("ahead", 3)
    go = threading.Event()
    done: list[int] = []
    given: list[int] = []

    def do(number: int) -> None:
        assert go.wait(60)
        done.append(number)

    def give() -> None:
        for number in range(8):
            work.put(partial(do, number))
            given.append(number)

    giver = threading.Thread(target=give)
    giver.start()
    giver.join(0.2)
    assert giver.is_alive()
    assert given == [0, 1, 2]
    go.set()
    giver.join(60)
    work.wait()
    assert done == list(range(8))
    work.close()


def test_an_error_is_raised_to_the_giver_and_ends_the_work() -> None:
    work = WorkThread("ahead", 2)
    done: list[str] = []

    def fail() -> None:
        raise EvidenceError("cannot write", remedy="another card")

    work.put(fail)
    with pytest.raises(EvidenceError, match="cannot write"):
        work.wait()
    for _ in range(4):  # more often than the limit: nobody waits for room that never comes
        with pytest.raises(EvidenceError, match="cannot write"):
            work.put(lambda: done.append("late"))
    with pytest.raises(EvidenceError, match="cannot write"):
        work.wait()
    work.close()
    assert not done


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_of_the_program_leaves_nobody_waiting() -> None:
    work = WorkThread("ahead", 2)
    work.put(lambda: 1 // 0)
    with pytest.raises(EvidenceError, match="the thread ahead failed"):
        _put_often(work)
    with pytest.raises(EvidenceError, match="the thread ahead failed"):
        work.wait()
    work.close()


def test_there_is_a_thread_from_the_first_job_to_the_close() -> None:
    before = threading.active_count()
    work = WorkThread("ahead", 2)
    work.wait()
    assert threading.active_count() == before
    for _ in range(2):  # it can begin anew
        work.put(lambda: None)
        assert threading.active_count() == before + 1
        work.close()
        work.close()
        assert threading.active_count() == before
