"""Who gets a session: every wrong certificate, both ways; TLS 1.2; time; revocation; the cost of outsiders."""

import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from docklink.client import open_session
from docklink.enrolment import make_enrolment
from docklink.errors import LinkError, LinkTimeoutError, PeerRefusedError, ProtocolError, StreamClosedError
from docklink.httpclient import AnswerError
from docklink.messages import EnrolBegin
from docklink.tls import DockEnrolment
from evidence.agency import load_enrol
from evidence.certificates import issue_leaf, issue_link_ca, new_key, self_signed_request
from evidence.roles import Role
from tests.docklink.linkbench import Agency, Bench

NOW = datetime.now(UTC)
Chain = tuple[x509.Certificate, ...]


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000


def write_pair(directory: Path, key: ec.EllipticCurvePrivateKey, chain: Chain) -> tuple[Path, Path]:
    pem = serialization.Encoding.PEM
    (directory / "leaf.pem").write_bytes(b"".join(each.public_bytes(pem) for each in chain))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "leaf.key").write_bytes(private)
    return directory / "leaf.pem", directory / "leaf.key"


def self_signed(name: str) -> tuple[ec.EllipticCurvePrivateKey, Chain]:
    key = new_key()
    subject = self_signed_request(name, key).subject
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOW - timedelta(hours=1)).not_valid_after(NOW + timedelta(days=1))
    return key, (builder.sign(key, hashes.SHA256()),)


@pytest.fixture
def issue(agency: Agency, tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    def run(role: Role, name: str, at: datetime = NOW) -> tuple[Path, Path]:
        key = new_key()
        chain = issue_leaf(role, name, key.public_key(), load_enrol(agency.directory / "agency"), at)
        return write_pair(tmp_path, key, chain)

    return run


def nothing_was_served(bench: Bench) -> None:
    end = bench.last_end()
    assert end.requests == 0
    assert end.peer is None


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.DOCK_LINK])
def test_a_dock_with_another_role_gets_nothing(
    bench: Bench, issue: Callable[..., tuple[Path, Path]], role: Role
) -> None:
    chain, key = issue(role, "dock7")
    with pytest.raises(LinkError):
        bench.open(trust=bench.agency.dock_trust(chain=chain, key=key)).device()
    nothing_was_served(bench)
    assert isinstance(bench.last_end().error, PeerRefusedError)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.CAMERA_LINK])
def test_a_camera_with_another_role_is_refused(
    bench: Bench, issue: Callable[..., tuple[Path, Path]], role: Role
) -> None:
    chain, key = issue(role, "cam0042")
    bench.trust = bench.agency.camera_trust(chain=chain, key=key)
    with pytest.raises(PeerRefusedError):
        bench.open()


def test_both_ends_refuse_another_agency(bench: Bench, other_agency: Agency) -> None:
    theirs = other_agency.dock_trust()
    rogue = bench.agency.dock_trust(chain=theirs.chain, key=theirs.key)
    with pytest.raises(LinkError):
        bench.open(trust=rogue).device()
    nothing_was_served(bench)
    with pytest.raises(PeerRefusedError):
        bench.open(trust=theirs)


def test_both_ends_refuse_a_self_signed_certificate(bench: Bench, tmp_path: Path) -> None:
    chain, key = write_pair(tmp_path, *self_signed("dock7"))
    with pytest.raises(LinkError):
        bench.open(trust=bench.agency.dock_trust(chain=chain, key=key)).device()
    nothing_was_served(bench)
    bench.trust = bench.agency.camera_trust(chain=chain, key=key)
    with pytest.raises(PeerRefusedError):
        bench.open()


def test_a_dock_without_certificate_gets_nothing(bench: Bench) -> None:
    with pytest.raises(LinkError):
        bench.open(trust=DockEnrolment()).device()
    nothing_was_served(bench)
    assert isinstance(bench.last_end().error, PeerRefusedError | ProtocolError)


def test_a_dock_that_expired_before_the_time_floor_gets_nothing(
    bench: Bench, issue: Callable[..., tuple[Path, Path]]
) -> None:
    chain, key = issue(Role.DOCK_LINK, "dock7", NOW - timedelta(days=800))
    old = bench.agency.dock_trust(chain=chain, key=key)
    bench.trust = bench.agency.camera_trust(time_floor_utc_ns=ns(NOW))
    with pytest.raises(LinkError):
        bench.open(trust=old).device()
    nothing_was_served(bench)
    bench.trust = bench.agency.camera_trust(time_floor_utc_ns=ns(NOW - timedelta(days=500)))
    assert bench.open(trust=old).device().device == "cam0042"


def test_a_camera_without_a_clock_docks_by_its_floor_alone(
    bench: Bench, issue: Callable[..., tuple[Path, Path]]
) -> None:
    """The dock's certificate is of next year, as it looks to a camera whose clock has stood still."""
    chain, key = issue(Role.DOCK_LINK, "dock7", NOW + timedelta(days=365))
    early = bench.agency.dock_trust(chain=chain, key=key)
    assert bench.open(trust=early).device().device == "cam0042"


def test_an_expired_camera_is_read_with_an_alarm(bench: Bench) -> None:
    later = bench.agency.dock_trust(now_utc_ns=ns(NOW + timedelta(days=365)))
    client = bench.open(trust=later)
    assert client.peer.expired
    assert client.device().device == "cam0042"
    assert not bench.open().peer.expired


def test_a_camera_that_is_not_valid_yet_is_refused(bench: Bench) -> None:
    with pytest.raises(PeerRefusedError, match="not valid yet"):
        bench.open(trust=bench.agency.dock_trust(now_utc_ns=ns(NOW - timedelta(days=3))))


def test_a_revoked_dock_gets_nothing(bench: Bench) -> None:
    client = bench.open()
    client.device()
    client.close()
    peer = bench.last_end().peer
    assert peer is not None
    bench.trust = bench.agency.camera_trust(revoked_serials=frozenset(peer.serials[:1]))
    with pytest.raises(LinkError):
        bench.open().device()
    end = bench.last_end(2)
    assert end.requests == 0
    assert "revoked" in str(end.error)


def test_a_revoked_camera_is_refused_from_its_effective_time_on(bench: Bench) -> None:
    serial = bench.open().peer.serials[0]
    past, future = time.time_ns() - 1, ns(NOW + timedelta(days=1))
    assert bench.open(trust=bench.agency.dock_trust(revocations={serial: future})).device().device
    with pytest.raises(PeerRefusedError, match="revoked"):
        bench.open(trust=bench.agency.dock_trust(revocations={serial: past}))


def test_a_docks_own_authority_certifies_cameras_and_no_docks(bench: Bench, tmp_path: Path) -> None:
    enrol = load_enrol(bench.agency.directory / "agency")
    authority_key = new_key()
    authority, *above = issue_link_ca("dock7", authority_key.public_key(), enrol, NOW)
    issuer = type(enrol)(key=authority_key, certificate=authority, above=tuple(above))
    for role in (Role.CAMERA_LINK, Role.DOCK_LINK):
        key = new_key()
        chain, private = write_pair(tmp_path, key, issue_leaf(role, "cam0042", key.public_key(), issuer, NOW))
        if role is Role.CAMERA_LINK:
            bench.trust = bench.agency.camera_trust(chain=chain, key=private)
            assert bench.open().peer.subject_id == "cam0042"
            bench.trust = bench.agency.camera_trust()
        else:
            with pytest.raises(LinkError):
                bench.open(trust=bench.agency.dock_trust(chain=chain, key=private)).device()


def test_tls_1_2_is_refused(bench: Bench) -> None:
    trust = bench.agency.dock_trust()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(trust.chain, trust.key)
    with socket.create_connection(("127.0.0.1", bench.listen()), 5) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain)
    nothing_was_served(bench)


def test_no_session_is_resumed(bench: Bench) -> None:
    """A ticket would carry a dock past its revocation."""
    trust = bench.agency.dock_trust()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(trust.chain, trust.key)
    with (
        socket.create_connection(("127.0.0.1", bench.listen()), 5) as plain,
        context.wrap_socket(plain) as tls,
    ):
        tls.sendall(b"GET /v1/device HTTP/1.1\r\nHost: camera\r\nConnection: close\r\n\r\n")
        assert tls.recv(16).startswith(b"HTTP/1.1 200")
        assert tls.session is None or not tls.session.has_ticket


def test_a_flood_before_authentication_is_cut_off(bench: Bench) -> None:
    stream = bench.near_stream()
    hello = b"\x16\x03\x01\x40\x00" + b"\x01\x00\xff\xff" + bytes(0x4000 - 4)
    with pytest.raises(LinkError):
        stream.write(hello * 100, 5)
    nothing_was_served(bench)


def test_a_slow_handshake_is_given_up_and_the_port_serves_the_next(bench: Bench) -> None:
    bench.timeouts = msgspec.structs.replace(bench.timeouts, handshake_s=1.0)
    number = bench.listen()
    half_open = bench.connect(number)
    half_open.write(b"\x16\x03\x01", 5)
    end = bench.last_end()
    assert isinstance(end.error, LinkTimeoutError)
    assert bench.open(bench.connect(number)).device().device == "cam0042"


def test_many_half_open_peers_do_not_keep_a_dock_out(bench: Bench) -> None:
    number = bench.listen()
    for _ in range(3):
        bench.connect(number).close()
    assert bench.open(bench.connect(number)).device().device == "cam0042"


def test_a_camera_that_hangs_up_in_the_handshake_is_a_closed_stream(bench: Bench) -> None:
    near = bench.near_stream()
    near.close()
    with pytest.raises(StreamClosedError):
        open_session(near, bench.agency.dock_trust())
    bench.last_end()


def test_enrolment_shows_the_fingerprint_and_admits_to_nothing_else(bench: Bench, tmp_path: Path) -> None:
    bench.trust, shown = make_enrolment(tmp_path)
    bench.camera.signing_request = b"\x30\x00"
    client = bench.open(trust=DockEnrolment())
    assert client.peer.fingerprint == shown
    assert client.peer.role is None
    assert client.device().device is None
    with pytest.raises(AnswerError) as refused:
        client.head()
    assert refused.value.status == 403
    begin = EnrolBegin("cam0043", client.peer.fingerprint, "0" * 64)
    assert client.begin_enrolment(begin).link == b"\x30\x00"
    with pytest.raises(PeerRefusedError):
        bench.open()  # a dock in service takes no camera without identity


def test_a_camera_in_service_is_not_enrolled_again(bench: Bench) -> None:
    with pytest.raises(AnswerError) as refused:
        bench.open().begin_enrolment(EnrolBegin("cam0042", "0" * 64, "0" * 64))
    assert refused.value.status == 403
    with pytest.raises(PeerRefusedError):
        bench.open(trust=DockEnrolment())
