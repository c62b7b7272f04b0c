"""`preroll clip handover`: the same clip for another agency, the original never altered."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from preroll.exits import Exit

if TYPE_CHECKING:
    from evidence.age import Recipient
    from evidence.documents import Handover

__all__ = ["command"]


class Outcome(msgspec.Struct, frozen=True):
    """What `--json` prints."""

    exit_status: int
    output: str | None = None
    record: "Handover | None" = None
    error: str | None = None


@click.command(name="handover", short_help="The same clip for another agency.")
@click.argument("clip", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "-i", "--identity", "identity_files", multiple=True, required=True, metavar="IDENTITY", help="Repeatable."
)
@click.option(
    "--recipient",
    "recipients",
    multiple=True,
    required=True,
    metavar="R",
    help="Who is to open it: age1…, or a file with one a line. Repeatable; of one kind.",
)
@click.option(
    "--signer", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The custodian's."
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="OUTPUT")
@click.option("--reason", default="not stated", show_default=True, help="Why; it is signed with the record.")
@click.option(
    "--ca",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The root of the camera's agency; without it, camera and custodian have to have one issuer.",
)
@click.option(
    "--crl", "crls", multiple=True, type=click.Path(path_type=Path), metavar="FILE", help="Repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    context: click.Context,
    *,
    clip: Path,
    identity_files: tuple[str, ...],
    recipients: tuple[str, ...],
    signer: Path,
    output: Path,
    reason: str,
    ca: Path | None,
    crls: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Make OUTPUT, a directory with CLIP for other recipients, and a signed record of the handover.

    What camera and journal signed is not touched, and still proves itself: OUTPUT verifies with the root of the
    agency that recorded it. Those who could open CLIP cannot open OUTPUT, unless they are named again.

    \b
    Exit status: 0 done; 1 it failed; 2 wrong usage; 3 not authentic;
    5 no identity opens it, or what is needed to tell is missing.
    """  # noqa: D301 -- \b is click's mark for lines that keep their breaks
    from evidence.errors import EvidenceError
    from preroll.commands.clip_export import status_of

    if not 1 <= len(reason) <= 1000:  # noqa: PLR2004 - words by a person, docs/formats.md
        raise click.UsageError("--reason takes 1 to 1000 characters")
    try:
        record = _hand_over(
            clip,
            output,
            identity_files=identity_files,
            recipients=recipients,
            signer=signer,
            reason=reason,
            ca=ca,
            crls=crls,
        )
        outcome = Outcome(exit_status=Exit.DONE, output=str(output), record=record)
    except EvidenceError as error:
        outcome = Outcome(exit_status=status_of(error), error=" ".join(str(error).split()))
        click.echo(f"preroll: {outcome.error}", err=True)
    if as_json:
        click.echo(msgspec.json.encode(outcome).decode())
    elif outcome.record is not None:
        click.echo(
            f"{output}\tfor {len(outcome.record.recipients)} recipients, signed by {outcome.record.operator}"
        )
    context.exit(outcome.exit_status)


def _hand_over(
    clip: Path,
    output: Path,
    *,
    identity_files: tuple[str, ...],
    recipients: tuple[str, ...],
    signer: Path,
    reason: str,
    ca: Path | None,
    crls: tuple[Path, ...],
) -> "Handover":
    from evidence.check import check_sealed_clip
    from evidence.clock import format_utc
    from evidence.export.handing_over import hand_over
    from evidence.paths import load_roots
    from evidence.revocation import load_revocations
    from evidence.roles import Role
    from evidence.signer import load_signer
    from preroll.commands.clip_export import progress
    from preroll.identities import read_identities

    custodian = load_signer(signer, Role.CUSTODIAN)
    roots = custodian.chain[-1:] if ca is None else load_roots(ca)
    revocations = load_revocations(crls)
    with progress("verified") as verified:
        return hand_over(
            clip,
            output,
            check=lambda path: check_sealed_clip(path, roots, revocations=revocations, advance=verified),
            identities=read_identities(identity_files),
            recipients=_recipients(recipients),
            signer=custodian,
            reason=reason,
            utc=format_utc(int(datetime.now(UTC).timestamp()) * 1_000_000_000),
        )


def _recipients(texts: tuple[str, ...]) -> "list[Recipient]":
    from evidence.age import AgeKeyError, parse_recipient, parse_recipients

    found: list[Recipient] = []
    for text in texts:
        if text.startswith("age1"):
            found.append(parse_recipient(text))
            continue
        try:
            found += parse_recipients(Path(text).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise AgeKeyError(
                f"unusable recipient {text}", expected="age1…, or a file with recipients"
            ) from error
    return found
