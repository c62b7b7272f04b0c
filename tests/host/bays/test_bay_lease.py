"""A bay that is lent: its port is free until it is given back, or until the time is over."""

from host.bays.lease import Lease

S = 1_000_000_000


def test_a_lease_ends_by_itself_or_when_it_is_given_back() -> None:
    lease = Lease()
    assert lease.left_s(5 * S) == 0
    lease.begin(65 * S)
    assert lease.left_s(5 * S) == 60
    assert lease.left_s(66 * S) == 0
    lease.begin(70 * S)
    lease.end()
    assert lease.left_s(5 * S) == 0


def test_who_borrows_waits_until_the_port_is_closed() -> None:
    lease = Lease()
    lease.let_go()
    assert not lease.wait_free(0), "nobody has asked"
    lease.begin(65 * S)
    assert not lease.wait_free(0)
    lease.let_go()
    assert lease.wait_free(0)
    lease.begin(70 * S)
    assert not lease.wait_free(0), "each lease has to be let go anew"
