"""Docks that must get nothing: nothing read, nothing deleted, nothing changed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest

from docklink.client import open_session
from docklink.errors import LinkError, PeerRefusedError
from docklink.httpclient import AnswerError
from docklink.messages import SignedDocument
from docklink.streams import connect_tcp
from docklink.tls import DockEnrolment
from evidence.clock import format_utc, parse_utc
from evidence.documents import EpochGrant, NamedBlob, Receipt, Revocation, UnreadableRange, Verdict
from evidence.roles import Role
from tests.device.dockport.dockbench import QUICK, Agency, DockBench, wait_until
from tests.device.vault_recovery.rig import DEVICE

NOW = parse_utc("2026-11-22T04:00:00.000000Z")


@contextmanager
def unharmed(bench: DockBench) -> Iterator[None]:
    """All clips are as they were, none is releasable, no configuration came."""
    before = [bench.bytes_of(name) for name in bench.names]
    yield
    bench.hold(0)
    bench.look()
    assert [bench.bytes_of(name) for name in bench.names] == before
    assert list((bench.root / "tombstones").iterdir()) == []
    assert not (bench.root / "config.json").exists()


def no_session(bench: DockBench, open_it: Callable[[], object]) -> None:
    """The camera refuses: the dock learns it in the handshake, or with its first request."""
    with unharmed(bench), pytest.raises(LinkError) as error:
        open_it()
    assert not isinstance(error.value, AnswerError)
    wait_until(lambda: "dock_refused" in bench.kinds())
    assert bench.port.service.sessions == 0
    assert "docked" not in bench.kinds()


def test_a_dock_of_another_agency(bench: DockBench, other_agency: Agency) -> None:
    trust = msgspec.structs.replace(other_agency.trust(), roots=bench.agency.roots)
    no_session(bench, lambda: bench.dock(trust=trust).device())


def test_a_camera_that_plays_the_dock(bench: DockBench) -> None:
    no_session(bench, lambda: bench.dock("camera").device())


def test_a_dock_without_certificate(bench: DockBench) -> None:
    def knock() -> None:
        assert bench.port.tcp is not None
        stream = connect_tcp("127.0.0.1", bench.port.tcp.number, 5)
        try:
            open_session(stream, DockEnrolment(), timeouts=QUICK).device()
        finally:
            stream.close()

    with unharmed(bench), pytest.raises(LinkError):
        knock()
    assert bench.port.service.sessions == 0


def test_a_dock_whose_certificate_ended_before_the_time_floor(bench: DockBench) -> None:
    bench.dock("olddock").device()  # a camera that was never told the time cannot know
    bench.set_clock(bench.dock(), time.time_ns())
    bench.restart()
    with pytest.raises(LinkError):
        bench.dock("olddock").device()
    wait_until(lambda: "dock_refused" in bench.kinds())
    bench.dock().device()


def test_a_dock_with_a_clock_that_runs_ahead_locks_nobody_out(bench: DockBench) -> None:
    bench.set_clock(bench.dock(), parse_utc("2090-01-01T00:00:00.000000Z"))
    bench.restart()
    bench.dock().device()
    bench.set_clock(bench.dock("dock8"), time.time_ns())


def test_a_dock_that_is_revoked(bench: DockBench) -> None:
    revoked = Revocation(serial=bench.agency.serial("dock8", "dock-link"), utc=format_utc(NOW))
    bench.policy = msgspec.structs.replace(
        bench.policy, document=bench.config(0, revocations=(revoked,), hold_ns=0)
    )
    with pytest.raises(LinkError):
        bench.dock("dock8").device()
    wait_until(lambda: "dock_refused" in bench.kinds())
    bench.dock().device()


def test_a_refusal_says_why_to_the_dock_and_is_logged_once(bench: DockBench) -> None:
    for _ in range(3):
        with pytest.raises(LinkError):
            bench.dock("camera").device()
    assert bench.kinds().count("dock_refused") == 1


def refuse(bench: DockBench, signed: SignedDocument, why: str, clip: str | None = None) -> None:
    with unharmed(bench), pytest.raises(AnswerError) as error:
        bench.dock().send_receipt(clip or bench.names[0], signed)
    assert error.value.status == 403
    assert why in error.value.problem.detail
    assert "receipt_refused" in bench.kinds()


def another(file: NamedBlob) -> NamedBlob:
    return msgspec.structs.replace(file, sha256="d" * 64)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"epoch": "e" * 32}, "another epoch"),
        ({"generation": 2}, "another generation"),
        ({"device": "cam0001", "clip": "notime-cam0001-000001"}, "another clip"),
        ({"number": 7, "clip": f"notime-{DEVICE}-000007"}, "another clip"),
    ],
    ids=["epoch", "generation", "device", "number"],
)
def test_a_receipt_of_another_place(bench: DockBench, changes: dict[str, object], why: str) -> None:
    refuse(bench, bench.signed(bench.receipt(bench.names[0], **changes)), why)


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_receipt_for_another_digest(bench: DockBench, which: int, verdict: Verdict) -> None:
    receipt = bench.receipt(bench.names[0], verdict=verdict)
    files = tuple(another(file) if place == which else file for place, file in enumerate(receipt.files))
    refuse(bench, bench.signed(msgspec.structs.replace(receipt, files=files)), receipt.files[which].name)


def test_a_receipt_without_the_footage(bench: DockBench) -> None:
    receipt = bench.receipt(bench.names[0])
    without = msgspec.structs.replace(receipt, files=receipt.files[1:])
    refuse(bench, bench.signed(without), "not for the files")


def test_a_receipt_of_another_clip_replayed(bench: DockBench) -> None:
    signed = bench.signed(bench.receipt(bench.names[0]))
    bench.dock().send_receipt(bench.names[0], signed)
    with pytest.raises(AnswerError) as error:
        bench.dock().send_receipt(bench.names[1], signed)
    assert error.value.status == 403
    bench.hold(0)
    bench.look()
    assert bench.clip(2).exists()


@pytest.mark.parametrize(
    ("who", "role"),
    [("dock", Role.DOCK_LINK), ("camera", Role.CAMERA_EVIDENCE), ("config", Role.CONFIG)],
)
def test_a_receipt_by_the_wrong_role(bench: DockBench, who: str, role: Role) -> None:
    refuse(bench, bench.signed(bench.receipt(bench.names[0]), who, role), "dock-receipt")


def test_a_receipt_of_another_agency(bench: DockBench, other_agency: Agency) -> None:
    theirs = DockBench.signed
    mine, bench.agency = bench.agency, other_agency
    signed = theirs(bench, bench.receipt(bench.names[0]))
    bench.agency = mine
    refuse(bench, signed, "not issued by the agency")


def test_a_receipt_by_a_revoked_store(bench: DockBench) -> None:
    revoked = Revocation(serial=bench.agency.serial("dock8", "dock-receipt"), utc=format_utc(NOW))
    document = bench.config(0, revocations=(revoked,), hold_ns=0)
    bench.policy = msgspec.structs.replace(bench.policy, document=document)
    with pytest.raises(AnswerError) as error:
        bench.dock().send_receipt(
            bench.names[0], bench.signed(bench.receipt(bench.names[0]), "dock8", Role.DOCK_RECEIPT)
        )
    assert error.value.status == 403
    assert "revoked" in error.value.problem.detail
    bench.look()
    assert bench.clip().exists()


def test_a_receipt_whose_bytes_were_changed(bench: DockBench) -> None:
    signed = bench.signed(bench.receipt(bench.names[0]))
    changed = SignedDocument(signed.document.replace(b"dock7-a", b"dock7-b"), signed.cms)
    refuse(bench, changed, "not of these bytes")


def test_a_store_that_holds_another_clip_than_lies_here(bench: DockBench) -> None:
    """The ciphertext here was cut since it was sealed; a store can have the manifest's word alone."""
    signed = bench.signed(bench.receipt(bench.names[0]))
    path = bench.clip() / "clip.mp4.age"
    path.write_bytes(path.read_bytes()[:-1])
    refuse(bench, signed, "quarantine")


def test_a_clip_in_quarantine_goes_only_with_what_lies_here(bench: DockBench) -> None:
    path = bench.clip() / "clip.mp4.age"
    path.write_bytes(path.read_bytes()[:-1])
    receipt: Receipt = bench.receipt(bench.names[0], verdict=Verdict.QUARANTINED)
    bench.dock().send_receipt(bench.names[0], bench.signed(receipt))
    unreadable = bench.receipt(
        bench.names[1],
        verdict=Verdict.QUARANTINED,
        unreadable=(UnreadableRange(name="clip.mp4.age", start=0, bytes=4096),),
    )
    files = (another(unreadable.files[0]), *unreadable.files[1:])
    bench.dock().send_receipt(bench.names[1], bench.signed(msgspec.structs.replace(unreadable, files=files)))
    bench.hold(0)
    bench.look()
    assert not bench.clip(1).exists()
    assert not bench.clip(2).exists()


@pytest.mark.parametrize(
    ("who", "role"),
    [("dock", Role.DOCK_RECEIPT), ("dock", Role.DOCK_LINK), ("camera", Role.CAMERA_EVIDENCE)],
)
def test_a_configuration_signed_by_anyone_else(bench: DockBench, who: str, role: Role) -> None:
    with unharmed(bench), pytest.raises(AnswerError) as error:
        bench.dock().send_config(bench.signed(bench.config(5), who, role))
    assert error.value.status == 403
    assert bench.applied == []


def test_an_older_configuration(bench: DockBench) -> None:
    bench.dock().send_config(bench.signed(bench.config(5), "config", Role.CONFIG))
    with pytest.raises(AnswerError) as error:
        bench.dock().send_config(bench.signed(bench.config(4), "config", Role.CONFIG))
    assert error.value.status == 409
    assert bench.policy.document.version == 5


@pytest.mark.parametrize(
    ("changes", "who", "role"),
    [
        ({"device": "cam0001"}, "dock", Role.DOCK_RECEIPT),
        ({"dock": "dock8"}, "dock", Role.DOCK_RECEIPT),
        ({}, "dock", Role.DOCK_LINK),
        ({}, "config", Role.CONFIG),
    ],
    ids=["another-camera", "another-dock", "link-key", "config-key"],
)
def test_a_grant_of_an_epoch_that_does_not_count(
    bench: DockBench, changes: dict[str, object], who: str, role: Role
) -> None:
    facts = bench.layout.facts
    grant = EpochGrant(
        device=DEVICE,
        epoch=facts.epoch,
        generation=facts.generation,
        number=9,
        start_sha256="b" * 64,
        dock="dock7",
        utc=format_utc(NOW),
    )
    with pytest.raises(AnswerError) as error:
        bench.dock().open_epoch(bench.signed(msgspec.structs.replace(grant, **changes), who, role))
    assert error.value.status == 403
    assert bench.layout.facts == facts


def test_a_dock_that_mistakes_the_camera_is_told(bench: DockBench, other_agency: Agency) -> None:
    """The other way round: a dock of the agency refuses a camera that is not its own."""
    trust = msgspec.structs.replace(bench.agency.trust(), roots=other_agency.roots)
    with pytest.raises(PeerRefusedError):
        bench.dock(trust=trust)
