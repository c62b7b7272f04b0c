"""`preroll clip verify`: whether clips are what their cameras signed, and whether any is missing."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from evidence.age import Identity
    from evidence.holdings import Holdings
    from evidence.survey import Circumstances
    from preroll.verify.progress import Progress

__all__ = ["command"]

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(name="verify", short_help="Whether clips are authentic and complete.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--ca", "ca_file", required=True, metavar="FILE", type=_FILE, help="The agency's root/root.pem.")
@click.option(
    "--crl", "crl_files", multiple=True, metavar="FILE", type=_FILE, help="Revocation list; repeatable."
)
@click.option(
    "--checkpoint",
    "checkpoint_files",
    multiple=True,
    metavar="FILE",
    type=_FILE,
    help="Checkpoint of the store's custody log that others kept, .p7s beside it. Repeatable.",
)
@click.option(
    "--identity",
    "-i",
    "identity_files",
    multiple=True,
    metavar="FILE",
    type=_FILE,
    help="Identity that opens the clips: also checks plaintext and media. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print for programs (docs/verify.md).")
@click.pass_context
def command(
    context: click.Context,
    *,
    paths: tuple[Path, ...],
    ca_file: Path,
    crl_files: tuple[Path, ...],
    checkpoint_files: tuple[Path, ...],
    identity_files: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Verify each PATH, a clip, a vault or a store, by the agency's root certificate. No key is needed.

    \b
    Exit status: 0 authentic and complete; 3 not authentic; 4 authentic, but interrupted or incomplete (clip or
    number missing); 5 cannot tell, what is needed is missing; 1 it failed; 2 wrong usage. Over several clips:
    the first of 3, 5, 4 that occurs.
    """  # noqa: D301 -- \b is click's mark for lines that keep their breaks
    from evidence.survey import survey
    from preroll.verify.progress import Progress
    from preroll.verify.report import exit_status, report_json, report_lines

    holdings = _holdings(paths)
    progress = Progress(sys.stderr, holdings)
    circumstances = _circumstances(ca_file, crl_files, checkpoint_files, identity_files, progress=progress)
    try:
        found = survey(holdings, circumstances)
    finally:
        progress.clear()
    if as_json:
        click.echo(report_json(found, circumstances.revocations))
    else:
        for line in report_lines(found, circumstances.revocations):
            click.echo(line)
    context.exit(exit_status(found))


def _holdings(paths: tuple[Path, ...]) -> "list[Holdings]":
    from evidence.holdings import HoldingsError, find_holdings

    try:
        return [find_holdings(path) for path in paths]
    except HoldingsError as error:
        raise click.UsageError(str(error)) from error


def _circumstances(
    ca_file: Path,
    crl_files: tuple[Path, ...],
    checkpoint_files: tuple[Path, ...],
    identity_files: tuple[Path, ...],
    *,
    progress: "Progress",
) -> "Circumstances":
    """Read what the verification goes by; what is unusable of it is wrong usage, and says nothing of clips."""
    from evidence.custody.ofclip import load_checkpoint
    from evidence.errors import EvidenceError
    from evidence.paths import load_roots
    from evidence.revocation import load_revocations
    from evidence.survey import Circumstances

    try:
        roots = load_roots(ca_file)
        return Circumstances(
            roots=roots,
            checkpoints=tuple(load_checkpoint(file, roots) for file in checkpoint_files),
            revocations=load_revocations(crl_files),
            identities=tuple(identity for file in identity_files for identity in _identities(file)),
            advance=progress.advance,
        )
    except EvidenceError as error:
        raise click.UsageError(str(error)) from error


def _identities(file: Path) -> "list[Identity]":
    from evidence.age import parse_identities

    try:
        return parse_identities(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise click.UsageError(f"{file} is no identity file") from None  # the error would quote it
