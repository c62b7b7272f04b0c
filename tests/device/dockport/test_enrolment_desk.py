"""Enrolment at the camera's end: what is taken, what is refused, and what is left if the power goes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from device.dockport.enrolstore import settle_identity
from device.dockport.enrolwindow import Stage
from device.dockport.linkidentity import LinkIdentity
from device.identity import WAITING, has_identity, read_facts
from device.policy import policy_of
from device.vault.configstore import PushedConfig, publish_config, read_config
from device.vault.layout import open_layout
from docklink.httpclient import AnswerError
from docklink.messages import EnrolBegin, EnrolInstall, SignedDocument
from evidence.cms import sign_cms
from evidence.documents import Revocation
from evidence.paths import load_roots
from evidence.roles import Role
from evidence.signer import load_signer
from evidence.steps import set_step_hook
from host.enrol import AgencyDesk
from tests.device.dockport.enrolbench import DEVICE, SERIAL, EnrolBench, S, make_agency

Change = Callable[[EnrolBench, EnrolInstall], EnrolInstall]


@pytest.fixture(scope="session")
def agency(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_agency(tmp_path_factory.mktemp("agency"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_agency(tmp_path_factory.mktemp("stranger"), "Another Trust")


@pytest.fixture
def bench(tmp_path: Path, agency: Path) -> Iterator[EnrolBench]:
    bench = EnrolBench(tmp_path, agency)
    yield bench
    bench.close()


def check_enrolled(bench: EnrolBench) -> None:
    """An identity that works: keys with their certificates, the root, recipients, a vault for this device."""
    assert load_signer(bench.keys, Role.CAMERA_EVIDENCE).chain
    assert LinkIdentity(DEVICE, bench.keys, bench.vault).files.not_after_utc_ns
    assert load_roots(bench.keys / "anchors.pem") == load_roots(bench.agency / "root" / "root.pem")
    facts = read_facts(bench.keys)
    assert facts is not None
    assert (facts.device, facts.serial, facts.camera_fingerprint) == (DEVICE, SERIAL, bench.fingerprint)
    assert (bench.keys / "recipients.txt").read_text().startswith("age1")
    open_layout(bench.vault, DEVICE).close()
    assert not (bench.keys / WAITING).exists()
    assert not (bench.keys / "enrolment").exists()


def test_a_camera_is_enrolled(bench: EnrolBench) -> None:
    bench.desk.button(held=True)
    with bench.dock() as dock:
        device = dock.device()
        assert (device.device, device.serial) == (None, SERIAL)
        requests = bench.begin(dock)
        assert not bench.files()
        dock.end_enrolment(
            msgspec.structs.replace(bench.offer(requests), config=bench.config(), recipients=None)
        )
        check_enrolled(bench)
        kept = read_config(bench.vault)
        assert kept is not None
        assert policy_of(kept.document, DEVICE).document.version == 1
        assert bench.desk.enrolled.is_set()
        for again in (lambda: bench.begin(dock), lambda: dock.end_enrolment(bench.offer(requests))):
            with pytest.raises(AnswerError) as error:
                again()
            assert error.value.status == 409
    assert not bench.faults


def _evidence_of_link(_bench: EnrolBench, offer: EnrolInstall) -> EnrolInstall:
    return msgspec.structs.replace(offer, evidence=offer.link)


def _two_anchors(_bench: EnrolBench, offer: EnrolInstall) -> EnrolInstall:
    return msgspec.structs.replace(offer, anchors=offer.anchors * 2)


def _no_root(_bench: EnrolBench, offer: EnrolInstall) -> EnrolInstall:
    return msgspec.structs.replace(offer, anchors=offer.evidence[1:2])


def _no_certificate(_bench: EnrolBench, offer: EnrolInstall) -> EnrolInstall:
    return msgspec.structs.replace(offer, link=(b"0\x00",))


def _no_recipient(_bench: EnrolBench, offer: EnrolInstall) -> EnrolInstall:
    return msgspec.structs.replace(offer, recipients=("age1qqqq",))


def _with_config(offer: EnrolInstall, config: SignedDocument) -> EnrolInstall:
    return msgspec.structs.replace(offer, config=config, recipients=None)


def _not_for_it(bench: EnrolBench, offer: EnrolInstall) -> EnrolInstall:
    return _with_config(offer, bench.config(devices=("cam0043",)))


def _altered(bench: EnrolBench, offer: EnrolInstall) -> EnrolInstall:
    config = bench.config()
    return _with_config(offer, SignedDocument(config.document + b" ", config.cms))


def _revokes_itself(bench: EnrolBench, offer: EnrolInstall) -> EnrolInstall:
    serial = f"{x509.load_der_x509_certificate(offer.link[0]).serial_number:x}"
    revocation = Revocation(serial=serial, utc="2026-01-01T00:00:00.000000Z")
    return _with_config(offer, bench.config(revocations=(revocation,)))


def _by_a_dock(bench: EnrolBench, offer: EnrolInstall) -> EnrolInstall:

    document = bench.config().document
    signer = load_signer(bench.agency.parent / "dock", Role.DOCK_RECEIPT)
    return _with_config(offer, SignedDocument(document, sign_cms(document, signer)))


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        (_evidence_of_link, 403, "evidence"),
        (_two_anchors, 422, "anchors"),
        (_no_root, 422, "anchors"),
        (_no_certificate, 403, "link"),
        (_no_recipient, 422, "recipients"),
        (_not_for_it, 422, "config.devices"),
        (_altered, 403, "config"),
        (_by_a_dock, 403, "config"),
        (_revokes_itself, 422, "config.revocations"),
    ],
)
def test_an_offer_that_is_not_good_installs_nothing(
    bench: EnrolBench, change: Change, status: int, field: str
) -> None:
    bench.desk.button(held=True)
    with bench.dock() as dock:
        offer = change(bench, bench.offer(bench.begin(dock)))
        with pytest.raises(AnswerError) as error:
            dock.end_enrolment(offer)
        assert (error.value.status, error.value.problem.field) == (status, field)
        assert not bench.files()
        assert bench.desk.stage is Stage.HELD
        dock.end_enrolment(bench.offer(bench.begin(dock)))  # and a good one is taken after it
    check_enrolled(bench)


def test_another_agencys_certificates_and_root_are_refused(bench: EnrolBench, stranger: Path) -> None:
    bench.desk.button(held=True)
    with bench.dock() as dock:
        for mix, field in (
            (lambda theirs, _: theirs, "anchors"),  # not the root that people were shown
            (lambda theirs, ours: msgspec.structs.replace(theirs, anchors=ours.anchors), "evidence"),
            (lambda theirs, ours: msgspec.structs.replace(ours, link=theirs.link), "link"),
            (lambda _, ours: _with_config(ours, bench.config(who=stranger.parent)), "config"),
        ):
            requests = bench.begin(dock)
            with pytest.raises(AnswerError) as error:
                dock.end_enrolment(mix(bench.offer(requests, agency=stranger), bench.offer(requests)))
            assert (error.value.status, error.value.problem.field) == (403, field)
    assert not bench.files()


def test_a_certificate_for_another_key_or_name_is_refused(bench: EnrolBench) -> None:
    bench.desk.button(held=True)
    with bench.dock() as dock:
        old = bench.offer(bench.begin(dock))
        bench.begin(dock)
        with pytest.raises(AnswerError) as error:
            dock.end_enrolment(old)
        assert error.value.problem.field == "evidence"
        assert "another key" in error.value.problem.detail
        other = bench.offer(bench.begin(dock, device="cam0043"), device="cam0043")
        bench.begin(dock)
        with pytest.raises(AnswerError) as error:
            dock.end_enrolment(other)
        assert error.value.problem.field == "evidence"
    assert not bench.files()


def test_the_button_must_be_held_to_the_end(bench: EnrolBench) -> None:
    with bench.dock() as dock:
        with pytest.raises(AnswerError) as error:
            bench.begin(dock)
        assert (error.value.status, error.value.problem.field) == (403, None)
        assert "button" in error.value.problem.detail
        bench.desk.button(held=True)
        requests = bench.begin(dock)
        bench.desk.button(held=False)
        bench.desk.button(held=True)  # a moment is enough to end it
        with pytest.raises(AnswerError) as error:
            dock.end_enrolment(bench.offer(requests))
        assert error.value.status == 409
        bench.now_ns += 61 * S
        with pytest.raises(AnswerError) as error:
            bench.begin(dock)
        assert "60 s" in error.value.problem.detail
    assert not bench.files()
    assert True in bench.lights
    assert bench.lights[-1] is False


def test_who_sits_in_between_and_another_id_are_refused(tmp_path: Path, agency: Path) -> None:
    bench = EnrolBench(tmp_path, agency, device="cam0007")
    bench.desk.button(held=True)
    with bench.dock() as dock:
        for changes, field in (({"camera_fingerprint": "0" * 64}, "camera_fingerprint"), ({}, "device")):
            with pytest.raises(AnswerError) as error:
                bench.begin(dock, **changes)
            assert error.value.problem.field == field
        bench.begin(dock, device="cam0007")
    bench.close()
    assert bench.desk.stage is Stage.HELD, "the keys go with their session"


def test_a_second_session_does_not_get_into_the_first(bench: EnrolBench) -> None:
    bench.desk.button(held=True)
    with bench.dock() as first, bench.dock() as second:
        requests = bench.begin(first)
        offer = bench.offer(requests)
        with pytest.raises(AnswerError) as error:
            bench.begin(second)
        assert error.value.status == 503
        with pytest.raises(AnswerError) as error:
            second.end_enrolment(offer)
        assert error.value.status == 409
        first.end_enrolment(offer)
    check_enrolled(bench)


def test_a_vault_of_an_earlier_life_is_not_gone_back_behind(bench: EnrolBench, stranger: Path) -> None:
    bench.desk.button(held=True)
    kept = bench.config(version=5)
    publish_config(bench.vault, PushedConfig(kept.document, kept.cms))
    with bench.dock() as dock:
        for version in (4, 5):
            with pytest.raises(AnswerError) as error:
                dock.end_enrolment(_with_config(bench.offer(bench.begin(dock)), bench.config(version=version)))
            assert (error.value.status, error.value.problem.field) == (409, "config.version")
        theirs = bench.config(who=stranger.parent)
        publish_config(bench.vault, PushedConfig(theirs.document, theirs.cms))
        with pytest.raises(AnswerError) as error:
            dock.end_enrolment(bench.offer(bench.begin(dock)))
        assert error.value.status == 409
        publish_config(bench.vault, PushedConfig(kept.document, kept.cms))
        dock.end_enrolment(_with_config(bench.offer(bench.begin(dock)), bench.config(version=6)))
    check_enrolled(bench)


def test_a_root_that_was_there_beforehand_is_the_only_one(tmp_path: Path, agency: Path, stranger: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "anchors.pem").write_bytes((stranger / "root" / "root.pem").read_bytes())
    bench = EnrolBench(tmp_path, agency)
    bench.desk.button(held=True)
    with bench.dock() as dock, pytest.raises(AnswerError) as error:
        dock.end_enrolment(bench.offer(bench.begin(dock)))
    assert (error.value.status, error.value.problem.field) == (403, "anchors")
    bench.close()
    assert not has_identity(bench.keys)


class PowerCutError(BaseException):
    """Ends an installation where it is."""


def install_until(bench: EnrolBench, limit: int | None) -> list[str]:
    """Install without a server, so that a kill ends all of it; returns the steps that were begun."""
    steps: list[str] = []

    def hook(operation: object, path: Path) -> None:
        if limit is not None and len(steps) >= limit:
            raise PowerCutError
        steps.append(f"{operation} {path.name}")

    bench.desk.button(held=True)
    begin = EnrolBegin(DEVICE, bench.fingerprint, AgencyDesk(bench.agency).fingerprint)
    offer = _with_config(bench.offer(bench.desk.begin(begin)), bench.config())
    set_step_hook(hook)
    try:
        bench.desk.install(offer)
    except PowerCutError:
        pass
    finally:
        set_step_hook(None)
    return steps


@pytest.mark.parametrize("stride", [6, pytest.param(1, marks=pytest.mark.long)])
def test_killed_at_a_step_it_is_enrolled_or_not_and_never_half(
    tmp_path: Path, agency: Path, stride: int
) -> None:
    whole = EnrolBench(tmp_path / "whole", agency)
    steps = install_until(whole, None)
    whole.close()
    check_enrolled(whole)
    committed = steps.index(f"rename .{WAITING}.tmp")
    assert 0 < committed < len(steps) - 20
    for limit in sorted({*range(0, len(steps), stride), *range(committed - 2, committed + 3), len(steps) - 1}):
        bench = EnrolBench(tmp_path / str(limit), agency)
        install_until(bench, limit)
        bench.close()
        assert has_identity(bench.keys) is (limit > committed), steps[limit]
        left = (bench.keys / WAITING).exists()
        assert left is (committed < limit < len(steps) - 1), steps[limit]
        assert settle_identity(bench.keys, bench.vault) is left
        if limit > committed:
            check_enrolled(bench)
            assert read_config(bench.vault) is not None
        else:
            assert not (bench.vault / "vault.json").exists()
            assert read_config(bench.vault) is None


@pytest.mark.parametrize("second", [0, 7, 19])
def test_killed_again_while_it_settles(tmp_path: Path, agency: Path, second: int) -> None:
    bench = EnrolBench(tmp_path, agency)
    steps = install_until(bench, None)
    bench.close()
    again = EnrolBench(tmp_path / "again", agency)
    install_until(again, steps.index(f"rename .{WAITING}.tmp") + 8)
    again.close()
    count = 0

    def hook(_operation: object, _path: Path) -> None:
        nonlocal count
        count += 1
        if count > second:
            raise PowerCutError

    set_step_hook(hook)
    try:
        with pytest.raises(PowerCutError):
            settle_identity(again.keys, again.vault)
    finally:
        set_step_hook(None)
    assert settle_identity(again.keys, again.vault)
    check_enrolled(again)
