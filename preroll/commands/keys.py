"""`preroll keys`: agencies, and keys and certificates for cameras, docks and people."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["agency", "command", "issue", "revoke"]

_KINDS = ("camera", "dock", "config", "custodian")


class AgencyMade(msgspec.Struct, frozen=True):
    """What `keys agency --json` prints."""

    root_certificate: str
    root_key: str
    enrol_certificate: str
    enrol_key: str
    identity: str
    recipients: str
    recipient: str


class KeysIssued(msgspec.Struct, frozen=True):
    """What `keys issue --json` prints."""

    subject: str
    id: str
    certificates: tuple[str, ...]
    keys: tuple[str, ...]


class CertificateRevoked(msgspec.Struct, frozen=True):
    """What `keys revoke --json` prints; `serial` is hexadecimal, `utc` the effective time."""

    crl: str
    number: int
    subject: str
    serial: str
    utc: str


@click.group(name="keys", no_args_is_help=True)
def command() -> None:
    """Agencies, keys and certificates."""


@command.command(name="agency", short_help="A new agency.")
@click.argument("name")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option("--pq", is_flag=True, help="Post-quantum hybrid identity; opening clips then needs age 1.3.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def agency(name: str, out: Path, pq: bool, as_json: bool) -> None:
    """Make the three key sets of an agency NAME in DIR.

    root/ is for a safe, off line. enrol/ issues certificates for cameras, docks and people. identity/ opens
    clips and never lies on a dock. Nothing that is there already is overwritten.
    """
    from evidence.agency import create_agency

    files = create_agency(name, out, post_quantum=pq)
    made = AgencyMade(**{field: str(getattr(files, field)) for field in files.__struct_fields__})
    if as_json:
        click.echo(msgspec.json.encode(made))
        return
    click.echo(f"Agency {name}, recipient {made.recipient}")
    click.echo(f"  {made.root_certificate}\twhat `--ca` takes; give it to everyone who verifies")
    click.echo(f"  {made.root_key}\tTAKE IT OFF LINE")
    click.echo(f"  {made.enrol_key}\tissues certificates")
    click.echo(f"  {made.identity}\tOPENS CLIPS: back it up; without it no clip can ever be opened")
    click.echo(f"  {made.recipients}\tfor cameras")


@command.command(name="issue", short_help="Keys and certificates.")
@click.argument("kind", type=click.Choice(_KINDS))
@click.argument("subject_id", metavar="ID")
@click.option("--agency", "agency_dir", required=True, type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--csr",
    "csr_files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Signing request (PEM or DER); named ROLE.csr where there are several roles. Repeatable.",
)
@click.option("--new", is_flag=True, help="Make the private keys too; for bench and demo.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def issue(
    *,
    kind: str,
    subject_id: str,
    agency_dir: Path,
    csr_files: tuple[Path, ...],
    new: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Issue keys and certificates to a camera, dock or person.

    DIR then holds ROLE.pem, and with --new ROLE.key: ROLE is evidence and link for a camera; dock-link,
    dock-receipt and link-ca for a dock; else config or custodian.
    """
    from evidence.agency import SubjectKind, check_subject, issue_new
    from evidence.agency import issue as issue_requests
    from evidence.certificates import IssueError

    if new == bool(csr_files):
        raise click.UsageError("give either --csr FILE or --new")
    subject = SubjectKind(kind)
    try:
        check_subject(subject, subject_id)
    except IssueError as error:
        raise click.UsageError(str(error)) from error
    if new:
        files = issue_new(subject, subject_id, agency_dir, out)
    else:
        files = issue_requests(subject, subject_id, agency_dir, out, _requests(subject.stems, csr_files))
    issued = KeysIssued(
        subject=kind,
        id=subject_id,
        certificates=tuple(str(path) for path in files.certificates),
        keys=tuple(str(path) for path in files.keys),
    )
    if as_json:
        click.echo(msgspec.json.encode(issued))
        return
    for path in (*issued.certificates, *issued.keys):
        click.echo(path)


@command.command(name="revoke", short_help="Revoke a certificate.")
@click.argument("certificate", metavar="CERT", type=click.Path(path_type=Path))
@click.option("--agency", "agency_dir", required=True, type=click.Path(path_type=Path), metavar="DIR")
@click.option("--reason", required=True, metavar="R", help="Words; those of RFC 5280 also become its code.")
@click.option("--at", "at", metavar="T", help="Effective time, RFC 3339 UTC, not ahead (default: now).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def revoke(certificate: Path, agency_dir: Path, reason: str, at: str | None, as_json: bool) -> None:
    """Revoke CERT, a certificate file of `keys issue`; writes the agency's crl/enrol.crl.

    What the key signed before the effective time counts, if a store's receipt attests that it is older. An
    intermediate (enrol/enrol.pem) is revoked in crl/root.crl, which takes the root's key. Give the list to
    everyone who verifies: `preroll clip verify --crl`.
    """
    from evidence.revoke import revoke as revoke_certificate

    revoked = revoke_certificate(certificate, agency_dir, reason, effective=_moment(at) if at else None)
    made = CertificateRevoked(
        crl=str(revoked.crl),
        number=revoked.number,
        subject=revoked.subject,
        serial=revoked.serial,
        utc=f"{revoked.effective:%Y-%m-%dT%H:%M:%SZ}",
    )
    if as_json:
        click.echo(msgspec.json.encode(made))
        return
    click.echo(f"{made.subject} is revoked with effect from {made.utc}")
    click.echo(f"  {made.crl}\tlist {made.number}; give it to everyone who verifies (`--crl`)")


def _moment(text: str) -> datetime:
    """Read a time of day in UTC, with or without a fraction of a second."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"--at is no time: {text[:40]!a}") from error
    if moment.utcoffset() != timedelta(0):
        raise click.UsageError("--at wants UTC, as in 2026-11-22T03:55:23Z")
    return moment


def _requests(stems: tuple[str, ...], files: tuple[Path, ...]) -> "dict[str, x509.CertificateSigningRequest]":
    """Read signing requests; a file's name says which key pair it is for, unless there is one alone."""
    requests: dict[str, x509.CertificateSigningRequest] = {}
    for file in files:
        stem = stems[0] if len(stems) == 1 else file.stem
        if stem in requests:
            raise click.UsageError(f"two signing requests for {stem}")
        requests[stem] = _load_request(file)
    return requests


def _load_request(file: Path) -> "x509.CertificateSigningRequest":
    from cryptography import x509

    from evidence.certificates import IssueError

    data = file.read_bytes()
    try:
        if data.startswith(b"-----"):
            return x509.load_pem_x509_csr(data)
        return x509.load_der_x509_csr(data)
    except (ValueError, x509.InvalidVersion) as error:
        raise IssueError(f"unusable signing request {file}", expected="PKCS #10 in PEM or DER form") from error
