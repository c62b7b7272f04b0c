"""Each request, by docklink's own client, against a real vault behind the real port."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from device.config import parse_config
from device.errors import DeviceError
from device.policy import load_policy
from device.recording.machine import State
from docklink.httpclient import AnswerError
from docklink.messages import ClipState, EnrolBegin, RecorderState, WearerAssignment
from evidence.agency import load_enrol
from evidence.attestations import read_tombstone
from evidence.certificates import check_signing_request, issue_leaf
from evidence.clock import ClockSource, format_utc, parse_utc
from evidence.cms import verify_cms
from evidence.documents import EpochGrant, Head, Manifest, decode
from evidence.roles import Role
from evidence.signer import load_signer
from tests.device.dockport.dockbench import HOUR_NS, NS_PER_S, Agency, DockBench
from tests.device.vault_recovery.rig import DEVICE, Camera

NOW = parse_utc("2026-11-22T04:00:00.000000Z")


def refused(error: pytest.ExceptionInfo[AnswerError]) -> tuple[int, str | None]:
    return error.value.status, error.value.problem.field


def test_the_device_says_who_and_how_it_is(bench: DockBench) -> None:
    device = bench.dock().device()
    assert (device.device, device.epoch, device.generation) == (DEVICE, bench.layout.facts.epoch, 1)
    assert device.recorder is RecorderState.READY
    assert device.storage.waiting == 2
    assert device.clock.source is ClockSource.NONE
    assert device.config == bench.policy.reference
    bench.state = State.BLOCKED
    assert bench.dock().device().recorder is RecorderState.FAULT


def test_the_head_is_signed_by_the_camera_and_names_the_last_number(bench: DockBench) -> None:
    bench.events()
    signed = bench.dock().head()
    assert verify_cms(signed.document, signed.cms).leaf.public_key() == bench.signer.public_key
    head = decode(signed.document, Head)
    line0 = (bench.clip(2) / "journal.jsonl").read_bytes().split(b"\n")[0] + b"\n"
    assert (head.number, head.start_sha256) == (2, hashlib.sha256(line0).hexdigest())
    assert head.log is not None


def test_clips_are_listed_and_fetched_whole_and_in_ranges(bench: DockBench) -> None:
    client = bench.dock()
    entries = list(client.clips())
    assert [(each.clip, each.number, each.state) for each in entries] == [
        (bench.names[0], 1, ClipState.SEALED),
        (bench.names[1], 2, ClipState.SEALED),
    ]
    manifest_bytes = (bench.clip() / "manifest.json").read_bytes()
    assert entries[0].manifest_sha256 == hashlib.sha256(manifest_bytes).hexdigest()
    manifest = decode(manifest_bytes, Manifest)
    assert manifest.ciphertext is not None
    digest = manifest.ciphertext.sha256
    content = (bench.clip() / "clip.mp4.age").read_bytes()
    assert b"".join(client.fetch(bench.names[0], "clip.mp4.age", sha256=digest)) == content
    part = client.fetch(bench.names[0], "clip.mp4.age", sha256=digest, start=70_001, stop=140_003)
    assert b"".join(part) == content[70_001:140_003]


def test_what_is_not_sealed_is_not_read(bench: DockBench) -> None:
    bench.stop()
    name = Camera(bench.root, bench.agency.directory / "camera").record(seal=False).name
    bench.start()
    client = bench.dock()
    entry = list(client.clips())[-1]
    assert (entry.clip, entry.state, entry.manifest_sha256) == (name, ClipState.RECOVERING, None)
    with pytest.raises(AnswerError) as error:
        list(client.fetch(name, "journal.jsonl", sha256="0" * 64))
    assert refused(error)[0] == 409
    with pytest.raises(AnswerError) as error:
        client.send_receipt(name, bench.signed(bench.receipt(bench.names[0])))
    assert refused(error)[0] == 409


def test_a_manifest_that_the_camera_did_not_sign_makes_no_clip_readable(
    bench: DockBench, agency: Agency
) -> None:
    bench.stop()
    path = bench.clip() / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"frames":8', b'"frames":9'))
    bench.start()
    client = bench.dock()
    assert next(iter(client.clips())).state is ClipState.RECOVERING
    with pytest.raises(AnswerError) as error:
        list(client.fetch(bench.names[0], "clip.mp4.age", sha256="0" * 64))
    assert refused(error)[0] == 409


def test_a_receipt_makes_a_clip_releasable_and_hold_zero_releases_it(bench: DockBench) -> None:
    client = bench.dock()
    name = bench.names[0]
    document = bench.signed(bench.receipt(name))
    for _ in range(2):
        client.send_receipt(name, document)
    assert (bench.clip() / "receipt.json").read_bytes() == document.document
    assert (bench.clip() / "receipt.p7s").read_bytes() == document.cms
    assert next(iter(client.clips())).state is ClipState.RELEASABLE
    assert client.device().storage.waiting == 1
    bench.look()
    assert bench.clip().exists(), "the hold is not over"
    bench.hold(0)
    bench.look()
    assert not bench.clip().exists()
    assert read_tombstone(bench.root / "tombstones" / name, bench.agency.roots).receipt.store == "dock7-a"
    assert [each.state for each in client.clips()] == [ClipState.RELEASED, ClipState.SEALED]
    (tombstone,) = client.tombstones()
    assert (tombstone.clip, tombstone.receipt) == (name, document)
    assert tombstone.start.endswith(b"\n")
    client.send_receipt(name, document)  # a dock that did not hear the answer asks again
    with pytest.raises(AnswerError) as error:
        list(client.fetch(name, "clip.mp4.age", sha256="0" * 64))
    assert refused(error)[0] == 410
    kinds = bench.kinds()
    assert kinds.count("receipt") == 1
    assert kinds.count("released") == 1
    assert kinds.index("receipt") < kinds.index("released")


def test_numbers_go_on_behind_a_released_clip(bench: DockBench) -> None:
    for name in bench.names:
        bench.give_receipt(name)
    bench.hold(0)
    bench.look()
    head = decode(bench.dock().head().document, Head)
    bench.restart()
    again = decode(bench.dock().head().document, Head)
    assert (again.number, again.start_sha256) == (head.number, head.start_sha256) == (2, head.start_sha256)


def test_the_log_comes_page_by_page_and_what_was_fetched_is_known(bench: DockBench) -> None:
    client = bench.dock()
    bench.events()
    data = client.log(0)
    lines = data.splitlines(keepends=True)
    stored = b"".join(path.read_bytes() for path in sorted(bench.layout.log.iterdir()))
    assert stored.startswith(data)
    indices = [json.loads(line)["l"]["index"] for line in lines]
    assert indices == list(range(1, len(lines) + 1))
    assert client.log(indices[-1] - 1).startswith(lines[-1])
    assert bench.log._log.docked_index == indices[-1] - 1
    bench.restart()
    assert json.loads(bench.dock().log(indices[-1]).splitlines()[0])["l"]["index"] == indices[-1] + 1


@pytest.mark.parametrize(
    ("utc", "source"), [(None, ClockSource.NONE), ("2099-01-01T00:00:00.000000Z", ClockSource.SYSTEM)]
)
def test_a_camera_without_the_time_gets_it(bench: DockBench, utc: str | None, source: ClockSource) -> None:
    bench.clocks.utc_ns = parse_utc(utc) if utc else None
    bench.clocks.source = source
    client = bench.dock()
    bench.set_clock(client, NOW)
    report = client.device().clock
    assert report.source is ClockSource.DOCK
    assert report.utc is not None
    assert abs(parse_utc(report.utc) - NOW) < NS_PER_S
    assert report.error_ns is not None
    assert 3_000_000 <= report.error_ns < 3_100_000  # half the way there and back, and the dock's own
    assert bench.memory.time_floor_utc_ns > NOW - NS_PER_S
    (event,) = [each for each in bench.events() if each.kind == "clock_set"]
    before = event.detail["before"]
    assert (before is None) == (utc is None)
    assert before is None or str(before) > "2098-12-31"
    bench.restart()
    assert bench.memory.time_floor_utc_ns > NOW - NS_PER_S
    assert bench.dock().device().clock.source is source


def test_the_clock_is_not_stepped_while_recording_nor_by_another_sessions_probe(bench: DockBench) -> None:
    client = bench.dock()
    bench.state = State.RECORDING
    with pytest.raises(AnswerError) as error:
        bench.set_clock(client, NOW)
    assert refused(error)[0] == 409
    bench.state = State.READY
    with pytest.raises(AnswerError) as error:
        bench.set_clock(client, parse_utc("1970-01-01T00:00:00.000000Z"))
    assert refused(error) == (422, "dock_sent_utc_ns")
    assert client.device().clock.source is ClockSource.NONE


def test_a_newer_configuration_is_taken_kept_and_loaded_at_the_next_start(
    bench: DockBench, tmp_path: Path
) -> None:
    client = bench.dock()
    signed = bench.signed(bench.config(12, window_ns=10 * NS_PER_S), "config", Role.CONFIG)
    client.send_config(signed)
    assert client.device().config == bench.policy.reference
    assert bench.policy.document.version == 12
    assert (bench.root / "config.json").read_bytes() == signed.document
    config = parse_config(
        f'[device]\nid = "{DEVICE}"\nvault = "{bench.root}"\n'
        f'[policy]\nrecipients = ["{bench.agency.recipient}"]\n',
        "test",
    )
    assert load_policy(config, tmp_path).reference == bench.policy.reference
    for version in (12, 11):
        with pytest.raises(AnswerError) as error:
            client.send_config(bench.signed(bench.config(version), "config", Role.CONFIG))
        assert refused(error) == (409, "version")
    assert "config" in bench.kinds()
    bench.restart()
    assert "integrity" not in bench.kinds()
    bench.stop()
    (bench.root / "config.new").write_bytes(b"0")
    bench.start()
    assert [event.detail["what"] for event in bench.events() if event.kind == "integrity"] == ["config"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"devices": ("cam0001",)}, "devices"),
        ({"recipients": ("age1qqqq",)}, "recipients"),
        ({"window_ns": 121 * NS_PER_S}, "window_ns"),
    ],
)
def test_an_unfit_configuration_is_refused_by_its_field(
    bench: DockBench, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(AnswerError) as error:
        bench.dock().send_config(bench.signed(bench.config(3, **changes), "config", Role.CONFIG))
    assert refused(error) == (422, field)
    assert not (bench.root / "config.json").exists()
    assert bench.applied == []


def test_a_configuration_that_the_camera_fails_with_is_rolled_back(bench: DockBench) -> None:
    bench.fails_with = DeviceError("no picture comes any more")
    with pytest.raises(AnswerError) as error:
        bench.dock().send_config(bench.signed(bench.config(3), "config", Role.CONFIG))
    assert refused(error)[0] == 422
    assert bench.applied == [3, 0]
    assert bench.policy.document.version == 0
    assert not (bench.root / "config.json").exists()
    assert "config_rolled_back" in bench.kinds()


def test_nothing_is_changed_while_recording(bench: DockBench) -> None:
    client = bench.dock()
    bench.state = State.RECORDING
    assignment = WearerAssignment("w-7f3a", format_utc(NOW), format_utc(NOW + HOUR_NS))
    for request in (
        lambda: client.assign_wearer(assignment),
        lambda: client.send_config(bench.signed(bench.config(3), "config", Role.CONFIG)),
        lambda: client.open_epoch(bench.signed(grant(bench, number=9))),
    ):
        with pytest.raises(AnswerError) as error:
            request()
        assert refused(error)[0] == 409


def test_a_wearer_is_assigned_for_a_shift_and_over_a_restart(bench: DockBench) -> None:
    client = bench.dock()
    client.assign_wearer(WearerAssignment("w-7f3a", format_utc(NOW), format_utc(NOW + HOUR_NS)))
    assert client.device().wearer is None, "without a clock nobody can tell whose shift it is"
    bench.set_clock(client, NOW + NS_PER_S)
    assert client.device().wearer == "w-7f3a"
    bench.set_clock(client, NOW + 2 * HOUR_NS)
    assert client.device().wearer is None
    bench.set_clock(client, NOW + NS_PER_S)
    bench.restart()
    client = bench.dock()
    bench.set_clock(client, NOW + 2 * NS_PER_S)
    assert client.device().wearer == "w-7f3a"
    client.assign_wearer(WearerAssignment(None, format_utc(NOW), format_utc(NOW + HOUR_NS)))
    assert client.device().wearer is None


def grant(bench: DockBench, **changes: object) -> EpochGrant:
    facts = bench.layout.facts
    made = EpochGrant(
        device=DEVICE,
        epoch=facts.epoch,
        generation=facts.generation,
        number=9,
        start_sha256="b" * 64,
        dock="dock7",
        utc=format_utc(NOW),
    )
    return msgspec.structs.replace(made, **changes)


def test_a_camera_behind_its_own_past_begins_an_epoch(bench: DockBench) -> None:
    old = bench.layout.facts
    client = bench.dock()
    head = decode(client.head().document, Head)
    with pytest.raises(AnswerError) as error:
        client.open_epoch(bench.signed(grant(bench, number=head.number, start_sha256=head.start_sha256)))
    assert refused(error)[0] == 409
    signed = bench.signed(grant(bench))
    new = decode(client.open_epoch(signed).document, Head)
    assert (new.generation, new.number) == (2, 0)
    assert new.epoch != old.epoch
    (event,) = [each for each in bench.events() if each.kind == "epoch"]
    assert (event.detail["seen_epoch"], event.detail["seen_number"]) == (old.epoch, 9)
    with pytest.raises(AnswerError) as error:
        client.open_epoch(signed)  # replayed
    assert refused(error)[0] == 409
    assert [each.epoch for each in client.clips()] == [old.epoch, old.epoch]


def test_the_link_certificate_is_renewed_for_this_camera_and_its_new_key_alone(bench: DockBench) -> None:
    enrol = load_enrol(bench.agency.directory / "agency")
    client = bench.dock()
    with pytest.raises(AnswerError) as error:
        client.end_renewal((b"x",))
    assert refused(error)[0] == 409
    request = x509.load_der_x509_csr(client.begin_renewal())
    key = check_signing_request(request, DEVICE)
    moment = datetime.now(UTC)
    own = load_signer(bench.agency.directory / "camera", Role.CAMERA_EVIDENCE).public_key
    for role, subject, public_key in (
        (Role.CAMERA_LINK, "cam0001", key),
        (Role.CAMERA_EVIDENCE, DEVICE, key),
        (Role.CAMERA_LINK, DEVICE, own),
    ):
        chain = issue_leaf(role, subject, public_key, enrol, moment)
        with pytest.raises(AnswerError) as error:
            client.end_renewal(tuple(each.public_bytes(Encoding.DER) for each in chain))
        assert refused(error)[0] == 403
    before = client.peer.fingerprint
    later = moment.replace(year=moment.year + 1)
    chain = issue_leaf(Role.CAMERA_LINK, DEVICE, key, enrol, later)
    client.end_renewal(tuple(each.public_bytes(Encoding.DER) for each in chain))
    trust = bench.agency.trust(now_utc_ns=int(later.timestamp()) * NS_PER_S)
    assert bench.dock(trust=trust).peer.fingerprint != before
    bench.restart()
    client = bench.dock(trust=trust)
    assert client.peer.fingerprint != before
    assert "renewed" in bench.kinds()
    again = check_signing_request(x509.load_der_x509_csr(client.begin_renewal()), DEVICE)
    shorter = issue_leaf(Role.CAMERA_LINK, DEVICE, again, enrol, moment)
    with pytest.raises(AnswerError) as error:  # the next start would prefer the one that it has
        client.end_renewal(tuple(each.public_bytes(Encoding.DER) for each in shorter))
    assert refused(error)[0] == 403


def test_enrolment_is_refused_by_a_camera_that_belongs_to_someone(bench: DockBench) -> None:
    with pytest.raises(AnswerError) as error:
        bench.dock().begin_enrolment(EnrolBegin(DEVICE, "0" * 64, "0" * 64))
    assert refused(error)[0] == 403


def test_a_dock_that_talks_is_shown_and_logged_once_a_session(bench: DockBench) -> None:
    client = bench.dock()
    client.device()
    client.head()
    bench.look()
    assert bench.presence == [True]
    docked = [each for each in bench.events() if each.kind == "docked"]
    assert [each.detail["dock"] for each in docked] == ["dock7"]
