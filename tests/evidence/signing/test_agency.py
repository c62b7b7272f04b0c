"""An agency on disk, what it issues, and `preroll keys`."""

import json
import os
import ssl
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from evidence.age import parse_identity, parse_recipient
from evidence.agency import SubjectKind, create_agency, issue, issue_new, load_enrol
from evidence.certificates import (
    Authority,
    IssueError,
    check_signing_request,
    issue_leaf,
    new_key,
    self_signed_request,
)
from evidence.paths import load_roots, verify_path
from evidence.roles import Role
from evidence.signer import load_signer
from preroll.commands.keys import command

if TYPE_CHECKING:
    from tests.evidence.signing.conftest import Pki

SECRETS = ("root/root.key", "enrol/enrol.key", "identity/identity.txt")
PUBLIC = ("root/root.pem", "enrol/enrol.pem", "identity/recipients.txt")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_secrets_are_secret_from_their_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    created: dict[str, tuple[int, int]] = {}
    real = os.open

    def spy(path: str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_CREAT:
            created[Path(path).name] = (flags, mode)
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", spy)
    previous = os.umask(0)
    try:
        create_agency("Trust", tmp_path / "a")
        issue_new(SubjectKind.CAMERA, "cam1", tmp_path / "a", tmp_path / "cam1")
    finally:
        os.umask(previous)
    secrets = [tmp_path / "a" / name for name in SECRETS]
    secrets += [tmp_path / "cam1" / "evidence.key", tmp_path / "cam1" / "link.key"]
    for path in secrets:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        flags, mode = created[path.name]
        assert flags & os.O_EXCL
        assert mode == 0o600
    for name in PUBLIC:
        assert stat.S_IMODE((tmp_path / "a" / name).stat().st_mode) == 0o644
    for name in ("root", "enrol", "identity"):
        assert stat.S_IMODE((tmp_path / "a" / name).stat().st_mode) == 0o700


@pytest.mark.parametrize(("post_quantum", "kind"), [(False, "age1"), (True, "age1pq1")])
def test_the_identity_belongs_to_the_recipient(post_quantum: bool, kind: str, tmp_path: Path) -> None:
    files = create_agency("Trust", tmp_path, post_quantum=post_quantum)
    assert files.recipient.startswith(kind)
    assert files.recipients.read_text("ascii") == f"{files.recipient}\n"
    secret = files.identity.read_text("ascii").splitlines()[-1]
    recipient = parse_recipient(files.recipient)
    assert parse_identity(secret).unwrap([recipient.wrap(bytes(16))]) == bytes(16)


@pytest.mark.parametrize("there", [*SECRETS, *PUBLIC])
def test_an_agency_overwrites_nothing(there: str, tmp_path: Path) -> None:
    path = tmp_path / there
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    with pytest.raises(IssueError, match="there already"):
        create_agency("Trust", tmp_path)
    assert path.read_text() == "precious"
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]


@pytest.mark.parametrize("there", ["evidence.key", "link.pem"])
def test_issuing_overwrites_nothing(there: str, tmp_path: Path, pki: "Pki") -> None:
    (tmp_path / there).symlink_to("nowhere")
    with pytest.raises(IssueError, match="there already"):
        issue_new(SubjectKind.CAMERA, "cam1", pki.agency_directory, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [there]


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 49])
def test_an_agency_needs_a_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(IssueError, match="name"):
        create_agency(name, tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("role", Role)
def test_what_is_issued_can_be_loaded_and_counts(role: Role, pki: "Pki") -> None:
    signer = pki.signer(role)
    assert verify_path(signer.chain[0], signer.chain[1:], pki.roots, role, None).role is role


def test_signing_requests_get_the_same_certificates(tmp_path: Path, pki: "Pki") -> None:
    keys = {stem: new_key() for stem in SubjectKind.DOCK.stems}
    requests = {stem: self_signed_request("dock8", key) for stem, key in keys.items()}
    files = issue(SubjectKind.DOCK, "dock8", pki.agency_directory, tmp_path, requests)
    assert files.keys == ()
    assert [path.name for path in files.certificates] == ["dock-link.pem", "dock-receipt.pem", "link-ca.pem"]
    for stem, key in keys.items():
        leaf = x509.load_pem_x509_certificate((tmp_path / f"{stem}.pem").read_bytes())
        assert leaf.public_key() == key.public_key()


def test_signing_requests_that_are_refused(tmp_path: Path, pki: "Pki") -> None:
    key = new_key()
    good = self_signed_request("cam1", key)
    agency = pki.agency_directory
    with pytest.raises(IssueError, match="CN=cam1 alone"):
        issue(SubjectKind.CAMERA, "cam1", agency, tmp_path, {"link": self_signed_request("cam2", key)})
    with pytest.raises(IssueError, match="one key"):
        issue(SubjectKind.CAMERA, "cam1", agency, tmp_path, {"link": good, "evidence": good})
    with pytest.raises(IssueError, match="no such key pair"):
        issue(SubjectKind.CAMERA, "cam1", agency, tmp_path, {"dock-link": good})
    with pytest.raises(IssueError, match="no request"):
        issue(SubjectKind.CAMERA, "cam1", agency, tmp_path, {})
    with pytest.raises(IssueError, match="P-256"):
        check_signing_request(self_signed_request("cam1", ec.generate_private_key(ec.SECP384R1())), "cam1")
    altered = bytearray(good.public_bytes(serialization.Encoding.DER))
    altered[-1] ^= 1
    with pytest.raises(IssueError, match="signature"):
        check_signing_request(x509.load_der_x509_csr(bytes(altered)), "cam1")
    assert list(tmp_path.iterdir()) == []


def test_a_request_of_another_kind_of_key(tmp_path: Path) -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cam1")])
    )
    with pytest.raises(IssueError, match="P-256"):
        check_signing_request(builder.sign(ed25519.Ed25519PrivateKey.generate(), None), "cam1")


@pytest.mark.parametrize("broken", ["missing", "empty", "another"])
def test_an_agency_that_cannot_be_used(broken: str, tmp_path: Path) -> None:
    create_agency("Trust", tmp_path / "a")
    key = tmp_path / "a" / "enrol" / "enrol.key"
    if broken == "another":
        create_agency("Trust", tmp_path / "b")
        key.write_bytes((tmp_path / "b" / "enrol" / "enrol.key").read_bytes())
    else:
        key.unlink()
    if broken == "empty":
        key.touch()
    with pytest.raises(IssueError, match="usable agency"):
        load_enrol(tmp_path / "a")


def test_python_tls_accepts_links_also_those_that_a_dock_renewed(tmp_path: Path, pki: "Pki") -> None:
    link_ca = load_signer_files(pki.directory / "dock" / "link-ca")
    key = new_key()
    chain = issue_leaf(Role.CAMERA_LINK, "cam0042", key.public_key(), link_ca, datetime.now(UTC))
    pem = serialization.Encoding.PEM
    (tmp_path / "link.pem").write_bytes(b"".join(each.public_bytes(pem) for each in chain))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "link.key").write_bytes(private)
    for camera in (pki.directory / "camera", tmp_path):
        version, camera_name, dock_name = handshake(camera, pki.directory / "dock", pki.agency.root_certificate)
        assert (version, camera_name, dock_name) == ("TLSv1.3", "cam0042", "dock7")


def load_signer_files(stem: Path) -> Authority:
    key = serialization.load_pem_private_key(stem.with_suffix(".key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificate, *above = x509.load_pem_x509_certificates(stem.with_suffix(".pem").read_bytes())
    return Authority(key=key, certificate=certificate, above=tuple(above))


def handshake(camera: Path, dock: Path, root: Path) -> tuple[str | None, str, str]:
    """Mutual TLS over memory; returns the version and the common names that each side saw of the other."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    for context, certificates, stem in ((server, camera, "link"), (client, dock, "dock-link")):
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(root)
        context.load_cert_chain(certificates / f"{stem}.pem", certificates / f"{stem}.key")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    camera_end = server.wrap_bio(to_server, to_client, server_side=True)
    dock_end = client.wrap_bio(to_client, to_server)
    done = {camera_end: False, dock_end: False}
    for _ in range(10):
        for end in (dock_end, camera_end):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            done[end] = True
    assert all(done.values())
    return dock_end.version(), common_name(dock_end), common_name(camera_end)


def common_name(end: ssl.SSLObject) -> str:
    der = end.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).subject.rfc4514_string().removeprefix("CN=")


@pytest.mark.parametrize("flags", [(), ("--pq",)])
def test_the_commands_end_to_end(flags: tuple[str, ...], tmp_path: Path) -> None:
    made = run("agency", "Trust", "--out", tmp_path / "a", "--json", *flags)
    assert made.exit_code == 0
    assert json.loads(made.output)["recipient"].startswith("age1pq1" if flags else "age1")
    issued = run(
        "issue", "camera", "cam1", "--agency", tmp_path / "a", "--new", "--out", tmp_path / "c", "--json"
    )
    assert issued.exit_code == 0
    assert [Path(path).name for path in json.loads(issued.output)["keys"]] == ["evidence.key", "link.key"]
    signer = load_signer(tmp_path / "c", Role.CAMERA_EVIDENCE)
    roots = load_roots(tmp_path / "a" / "root" / "root.pem")
    found = verify_path(signer.chain[0], signer.chain[1:], roots, Role.CAMERA_EVIDENCE, None)
    assert found.subject_id == "cam1"


@pytest.mark.parametrize("encoding", [serialization.Encoding.PEM, serialization.Encoding.DER])
def test_issuing_for_requests_by_command(encoding: serialization.Encoding, tmp_path: Path, pki: "Pki") -> None:
    for stem in ("evidence", "link"):
        request = self_signed_request("cam1", new_key())
        (tmp_path / f"{stem}.csr").write_bytes(request.public_bytes(encoding))
    done = run(
        *("issue", "camera", "cam1", "--agency", pki.agency_directory, "--out", tmp_path / "c"),
        *("--csr", tmp_path / "link.csr", "--csr", tmp_path / "evidence.csr"),
    )
    assert done.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["evidence.pem", "link.pem"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("camera", "Cam1", "--new"), "not an id"),
        (("camera", "cam1"), "--csr"),
        (("camera", "cam1", "--new", "--csr", "x"), "--csr"),
        (("printer", "cam1", "--new"), "printer"),
        (("config", "policy", "--csr", "x.csr", "--csr", "y.csr"), ""),
    ],
)
def test_wrong_usage(
    arguments: tuple[str, ...], said: str, tmp_path: Path, pki: "Pki", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x.csr", "y.csr"):
        request = self_signed_request("policy", new_key())
        Path(name).write_bytes(request.public_bytes(serialization.Encoding.DER))
    done = run("issue", *arguments, "--agency", pki.agency_directory, "--out", tmp_path / "c")
    assert done.exit_code == 2
    assert said in done.output
    assert not (tmp_path / "c").exists()


def test_help_names_the_files() -> None:
    assert "evidence" in run("issue", "--help").output
    assert "identity/" in run("agency", "--help").output
