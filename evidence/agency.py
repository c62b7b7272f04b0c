"""An agency on disk: making one, and issuing keys and certificates from it.

Layout: `root/root.pem`, `root/root.key` (to be taken offline), `enrol/enrol.pem`, `enrol/enrol.key`,
`identity/identity.txt`, `identity/recipients.txt` (never on a dock). What is issued lies in one directory as
`ROLE.pem` (leaf, then intermediates) and `ROLE.key`. Nothing is ever overwritten; keys are PKCS #8 in PEM form,
created exclusively and with mode 0600 from their first byte on.
"""

import enum
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from evidence.age.keyfiles import generate_identity, identity_file_text
from evidence.certificates import (
    Authority,
    IssueError,
    check_id,
    check_signing_request,
    issue_leaf,
    issue_link_ca,
    make_enrol,
    make_root,
    new_key,
)
from evidence.errors import EvidenceError
from evidence.roles import LINK_CA, Role
from evidence.storage import create_file, sync_directory

__all__ = [
    "AgencyFiles",
    "IssuedFiles",
    "SubjectKind",
    "check_subject",
    "create_agency",
    "issue",
    "issue_new",
    "load_enrol",
    "load_root",
]

_PUBLIC_MODE = 0o644
_DIRECTORY_MODE = 0o700


class SubjectKind(enum.StrEnum):
    """Whom keys are issued to."""

    CAMERA = "camera"
    DOCK = "dock"
    CONFIG = "config"
    CUSTODIAN = "custodian"

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the key pairs that it has, as its files are called."""
        return _STEMS[self]


_STEMS = {
    SubjectKind.CAMERA: (Role.CAMERA_EVIDENCE.file_stem, Role.CAMERA_LINK.file_stem),
    SubjectKind.DOCK: (Role.DOCK_LINK.file_stem, Role.DOCK_RECEIPT.file_stem, LINK_CA),
    SubjectKind.CONFIG: (Role.CONFIG.file_stem,),
    SubjectKind.CUSTODIAN: (Role.CUSTODIAN.file_stem,),
}
_ROLES = {role.file_stem: role for role in Role}


class AgencyFiles(msgspec.Struct, frozen=True):
    """What `create_agency` wrote."""

    root_certificate: Path
    root_key: Path
    enrol_certificate: Path
    enrol_key: Path
    identity: Path
    recipients: Path
    recipient: str


class IssuedFiles(msgspec.Struct, frozen=True):
    """What `issue` and `issue_new` wrote, in the order of `SubjectKind.stems`."""

    certificates: tuple[Path, ...]
    keys: tuple[Path, ...]


def create_agency(
    name: str, out: Path, *, post_quantum: bool = False, now: datetime | None = None
) -> AgencyFiles:
    """Make an agency: root, enrol intermediate, and the age identity that opens its clips.

    Raises:
        IssueError: the name is unfit, or there is something at one of the places already.
        StorageError: a file cannot be written.
    """
    moment = now or datetime.now(UTC)
    files = AgencyFiles(
        root_certificate=out / "root" / "root.pem",
        root_key=out / "root" / "root.key",
        enrol_certificate=out / "enrol" / "enrol.pem",
        enrol_key=out / "enrol" / "enrol.key",
        identity=out / "identity" / "identity.txt",
        recipients=out / "identity" / "recipients.txt",
        recipient="",
    )
    _refuse_existing([getattr(files, field) for field in files.__struct_fields__ if field != "recipient"])
    root = make_root(name, moment)
    enrol = make_enrol(name, root, moment)
    identity = generate_identity(post_quantum=post_quantum)
    recipient = str(identity.recipient())
    for directory in ("root", "enrol", "identity"):
        _make_directory(out / directory)
    create_file(files.root_key, _key_pem(root.key))
    _create_public(files.root_certificate, _chain_pem((root.certificate,)))
    create_file(files.enrol_key, _key_pem(enrol.key))
    _create_public(files.enrol_certificate, _chain_pem((enrol.certificate,)))
    created = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    create_file(files.identity, identity_file_text(identity, created_utc=created).encode("ascii"))
    _create_public(files.recipients, f"{recipient}\n".encode("ascii"))
    for directory in ("root", "enrol", "identity", "."):
        sync_directory(out / directory)
    return msgspec.structs.replace(files, recipient=recipient)


def check_subject(kind: SubjectKind, subject_id: str) -> None:
    """Refuse an id that is not in the grammar for its kind.

    Raises:
        IssueError: what the grammar is.
    """
    check_id(_ROLES[kind.stems[0]], subject_id)


def load_enrol(agency: Path) -> Authority:
    """Load the intermediate that issues; its key is held for the length of one command.

    Raises:
        IssueError: a file is missing or unreadable, or key and certificate do not belong together.
    """
    return _load_authority(agency, "enrol")


def load_root(agency: Path) -> Authority:
    """Load the root, whose key is off line but for the moment in which it revokes an intermediate.

    Raises:
        IssueError: as for `load_enrol`.
    """
    return _load_authority(agency, "root")


def _load_authority(agency: Path, stem: str) -> Authority:
    key_path, certificate_path = agency / stem / f"{stem}.key", agency / stem / f"{stem}.pem"
    try:
        key = serialization.load_pem_private_key(_read(key_path), None)
        certificates = x509.load_pem_x509_certificates(_read(certificate_path))
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise IssueError(
            f"unusable agency {agency}",
            expected=f"{stem}.key and {stem}.pem as `preroll keys agency` makes them",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificates[0].public_key() != key.public_key():
        raise IssueError(f"unusable agency {agency}", found=f"{stem}.key and {stem}.pem that are no pair")
    return Authority(key=key, certificate=certificates[0], above=tuple(certificates[1:]))


def issue_new(
    kind: SubjectKind, subject_id: str, agency: Path, out: Path, *, now: datetime | None = None
) -> IssuedFiles:
    """Make all key pairs of a camera, dock or person, with their certificates.

    Raises:
        IssueError: the id is unfit, the agency unusable, or a file is there already.
        StorageError: a file cannot be written.
    """
    keys = {stem: new_key() for stem in kind.stems}
    public_keys = {stem: key.public_key() for stem, key in keys.items()}
    return _issue(
        kind,
        subject_id,
        agency,
        out,
        public_keys=public_keys,
        private_keys=keys,
        now=now or datetime.now(UTC),
    )


def issue(
    kind: SubjectKind,
    subject_id: str,
    agency: Path,
    out: Path,
    requests: Mapping[str, x509.CertificateSigningRequest],
    *,
    now: datetime | None = None,
) -> IssuedFiles:
    """Issue certificates for signing requests, by the name of their key pair (`SubjectKind.stems`).

    Raises:
        IssueError: a request is unfit, or two of them are for one key; and as for `issue_new`.
        StorageError: a file cannot be written.
    """
    unknown = sorted(set(requests) - set(kind.stems))
    if unknown or not requests:
        raise IssueError(
            f"no such key pair of a {kind}",
            expected=" or ".join(kind.stems),
            found=", ".join(unknown) or "no request",
        )
    keys = {stem: check_signing_request(request, subject_id) for stem, request in requests.items()}
    points = {key.public_numbers() for key in keys.values()}
    if len(points) != len(keys):
        raise IssueError("two signing requests are for one key", expected="a key of its own for each")
    return _issue(
        kind, subject_id, agency, out, public_keys=keys, private_keys={}, now=now or datetime.now(UTC)
    )


def _issue(
    kind: SubjectKind,
    subject_id: str,
    agency: Path,
    out: Path,
    *,
    public_keys: Mapping[str, ec.EllipticCurvePublicKey],
    private_keys: Mapping[str, ec.EllipticCurvePrivateKey],
    now: datetime,
) -> IssuedFiles:
    stems = [stem for stem in kind.stems if stem in public_keys]
    check_subject(kind, subject_id)
    certificates = [out / f"{stem}.pem" for stem in stems]
    keys = [out / f"{stem}.key" for stem in stems if stem in private_keys]
    _refuse_existing([*certificates, *keys])
    enrol = load_enrol(agency)
    chains = []
    for stem in stems:
        if stem == LINK_CA:
            chains.append(issue_link_ca(subject_id, public_keys[stem], enrol, now))
        else:
            chains.append(issue_leaf(_ROLES[stem], subject_id, public_keys[stem], enrol, now))
    _make_directory(out)
    for stem, private_key in private_keys.items():
        create_file(out / f"{stem}.key", _key_pem(private_key))
    for path, chain in zip(certificates, chains, strict=True):
        _create_public(path, _chain_pem(chain))
    sync_directory(out)
    return IssuedFiles(certificates=tuple(certificates), keys=tuple(keys))


def _refuse_existing(paths: list[Path]) -> None:
    """Refuse to go on if a file is there already; a dangling link counts."""
    for path in paths:
        if path.exists() or path.is_symlink():
            raise IssueError(f"{path} is there already", remedy="nothing was changed; choose another directory")


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise EvidenceError(f"cannot make the directory {path}", found=error.strerror or "") from error


def _create_public(path: Path, data: bytes) -> None:
    """Create a file that anyone may read."""
    create_file(path, data)
    path.chmod(_PUBLIC_MODE)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _chain_pem(chain: tuple[x509.Certificate, ...]) -> bytes:
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise IssueError(
            "no usable agency",
            expected=f"the file {path}",
            found=error.strerror or type(error).__name__,
            remedy="make one with `preroll keys agency`",
        ) from error
