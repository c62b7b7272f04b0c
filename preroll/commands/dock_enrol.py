"""`preroll dock enrol`."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from host.config import BaySection, DockConfig
    from host.enrol import AgencyDesk, Confirmation, Enrolment, Policy, Register, Shown, Wanted

__all__ = ["enrol"]

_GROUP = 4
_AFTER_S = 30.0
"""The bay is lent for a little longer than the command can take."""


class CameraEnrolled(msgspec.Struct, frozen=True):
    """What `dock enrol --json` prints; fingerprints are SHA-256, serial numbers hexadecimal."""

    device: str
    serial: str
    bay: str
    camera_fingerprint: str
    agency_fingerprint: str
    confirmed: str
    evidence_certificate: str
    link_certificate: str
    certificates: str


@click.command()
@click.option("--bay", required=True, metavar="N", help="The bay, as in the dock's TOML.")
@click.option("--serial", required=True, metavar="S", help="The board's number: what camera and USB show.")
@click.option("--id", "device", required=True, metavar="ID", help="Who the camera is to be: a-z, 0-9, -.")
@click.option("--agency", "agency_dir", required=True, type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--config",
    "file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The dock's TOML.",
)
@click.option(
    "--policy",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Signed configuration for the camera, its .p7s beside it (default: the recipients alone).",
)
@click.option("--fingerprint", metavar="HEX", help="The camera's, read off beforehand; nobody is asked then.")
@click.option("--yes", is_flag=True, help="Take any fingerprint, unseen.")
@click.option("--replace", default="", metavar="REASON", help="Why an id that is taken goes to this board.")
@click.option("--timeout", type=click.FloatRange(5, 600), default=60.0, show_default=True, metavar="SECONDS")
@click.option("--json", "as_json", is_flag=True, help="Print for programs.")
def enrol(
    *,
    bay: str,
    serial: str,
    device: str,
    agency_dir: Path,
    file: Path,
    policy: Path | None,
    fingerprint: str | None,
    yes: bool,
    replace: str,
    timeout: float,
    as_json: bool,
) -> None:
    """Make a new camera one of the agency: its keys are made on it, certificates come from DIR.

    Put the camera, which has no identity yet, into the bay and hold its button. Its fingerprint and the
    agency's are shown here and in the camera's log: compare them. A running agent lends the bay meanwhile.
    """
    from evidence.paths import load_roots
    from host.config import load_config
    from host.enrol import AgencyDesk, EnrolError, Register, Wanted, borrowed, usb_number_of

    _check_id(device)
    confirm = _confirmer(_normal(fingerprint), yes=yes)
    config = load_config(file)
    section = _section(config, bay)
    agency = AgencyDesk(agency_dir)
    if agency.root not in load_roots(Path(config.dock.root)):
        raise EnrolError(
            "the dock is of another agency",
            expected=f"the root of {agency_dir} in {config.dock.root}",
            remedy="name the directory of the dock's own agency",
        )
    wanted = Wanted(
        device=device,
        serial=serial,
        dock=config.dock.id,
        bay=bay,
        policy=_policy(policy, agency.recipients, device),
        usb=usb_number_of(section),
        known=_known(config, device),
        replace=replace,
        window_s=timeout,
    )
    register = Register(agency_dir)
    with register.held(), borrowed(config, bay, 2 * timeout + _AFTER_S):
        done = _run(config, section, wanted, agency, register=register, confirm=confirm)
    printed = CameraEnrolled(
        device=device,
        serial=serial,
        bay=bay,
        camera_fingerprint=done.shown.camera,
        agency_fingerprint=done.shown.agency,
        confirmed=done.confirmed.value,
        evidence_certificate=done.issued.evidence_serial,
        link_certificate=done.issued.link_serial,
        certificates=str(done.kept),
    )
    _print(printed, as_json=as_json)


def _print(printed: CameraEnrolled, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(printed))
        return
    click.echo(f"{printed.device} is enrolled (board {printed.serial}, bay {printed.bay})")
    click.echo(f"  {printed.certificates}\tits certificates, for a revocation one day")


def _run(
    config: "DockConfig",
    section: "BaySection",
    wanted: "Wanted",
    agency: "AgencyDesk",
    *,
    register: "Register",
    confirm: "Callable[[Shown], Confirmation | str]",
) -> "Enrolment":
    import time

    from docklink.tls import DockTrust
    from evidence.roles import Role
    from host.bays import way_of
    from host.enrol import Enroller

    def trust() -> DockTrust:
        keys, stem = Path(config.dock.keys), Role.DOCK_LINK.file_stem
        return DockTrust(keys / f"{stem}.pem", keys / f"{stem}.key", (agency.root,), time.time_ns())

    enroller = Enroller(
        way_of(section, config.timeouts.connect_s),
        wanted,
        agency,
        register,
        confirm=confirm,
        say=lambda text: click.echo(f"bay {wanted.bay}: {text}", err=True),
        trust=trust,
        timeouts=config.timeouts.link,
    )
    click.echo(f"bay {wanted.bay} is open for board {wanted.serial} for {wanted.window_s:.0f} s", err=True)
    return enroller.run()


def _confirmer(expected: str | None, *, yes: bool) -> "Callable[[Shown], Confirmation | str]":
    """Return who confirms: the fingerprint that was given, nobody (`--yes`), or the operator."""
    from host.enrol import Confirmation

    if yes and expected is not None:
        raise click.UsageError("give either --yes or --fingerprint")
    if not yes and expected is None and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: give --fingerprint HEX, or --yes")

    def confirm(shown: "Shown") -> "Confirmation | str":
        click.echo(f"camera's fingerprint   {_grouped(shown.camera)}", err=True)
        click.echo(f"agency's fingerprint   {_grouped(shown.agency)}", err=True)
        if expected is not None:
            same = shown.camera == expected
            return Confirmation.FINGERPRINT if same else f"expected {expected}, found {shown.camera}"
        if yes:
            return Confirmation.UNSEEN
        click.echo("Keep the button held. Compare both with what the camera's log says.", err=True)
        same = click.confirm("Are they the same?", default=False, err=True)
        return Confirmation.OPERATOR if same else "the operator says no"

    return confirm


def _grouped(fingerprint: str) -> str:
    return " ".join(fingerprint[at : at + _GROUP] for at in range(0, len(fingerprint), _GROUP))


def _normal(fingerprint: str | None) -> str | None:
    """Read a fingerprint as people copy it, whole: half of one is no proof."""
    if fingerprint is None:
        return None
    digits = re.sub(r"[\s:]", "", fingerprint).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise click.UsageError("--fingerprint wants all 64 hexadecimal digits")
    return digits


def _section(config: "DockConfig", bay: str) -> "BaySection":
    found = next((each for each in config.bay if each.name == bay), None)
    if found is None:
        names = ", ".join(each.name for each in config.bay) or "none"
        raise click.UsageError(f"no bay {bay[:40]!a}; the configuration has: {names}")
    return found


def _check_id(device: str) -> None:
    from evidence.agency import SubjectKind, check_subject
    from evidence.certificates import IssueError

    try:
        check_subject(SubjectKind.CAMERA, device)
    except IssueError as error:
        raise click.UsageError(f"--id: {error}") from error


def _known(config: "DockConfig", device: str) -> str:
    """Say where the dock has met the id before."""
    place = Path(config.store.path) / "heads" / device
    return f"a camera of that id in the store {config.store.id}" if place.exists() else ""


def _policy(file: Path | None, recipients: "Callable[[], tuple[str, ...]]", device: str) -> "Policy":
    """Return the signed configuration, checked as far as the camera would, or the agency's recipients."""
    from docklink.messages import SignedDocument
    from evidence.policies import ConfigFieldError, check_config
    from host.enrol import Policy

    if file is None:
        return Policy(None, recipients())
    document = file.read_bytes()
    try:
        devices = check_config(document).document.devices
    except ConfigFieldError as error:
        raise click.UsageError(f"--policy {file}: {error}") from error
    if device not in devices:
        raise click.UsageError(f"--policy {file}: not for {device}; sign one whose `devices` name it")
    return Policy(SignedDocument(document, file.with_suffix(".p7s").read_bytes()), None)
