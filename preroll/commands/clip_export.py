"""`preroll clip export`: footage that plays, with a report that says what it is and how to check it."""

import contextlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from preroll.exits import Exit

if TYPE_CHECKING:
    from evidence.export.moments import Moment
    from evidence.export.report import Exported

__all__ = ["command"]

_MIB = 1 << 20


class Outcome(msgspec.Struct, frozen=True):
    """What `--json` prints; `error` is `null` if all went well, the rest is where nothing was written."""

    exit_status: int
    output: str | None = None
    html: str | None = None
    json: str | None = None
    sha256: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    frames: int | None = None
    error: str | None = None


@click.command(name="export", short_help="Footage that plays, with a report.")
@click.argument("clip", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "-i", "--identity", "identity_files", multiple=True, required=True, metavar="IDENTITY", help="Repeatable."
)
@click.option(
    "--ca",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The agency's root certificate.",
)
@click.option(
    "--crl", "crls", multiple=True, type=click.Path(path_type=Path), metavar="FILE", help="Repeatable."
)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="OUTPUT"
)
@click.option("--from", "start", metavar="T", help="Seconds from the first frame, or RFC 3339 UTC.")
@click.option("--to", "end", metavar="T", help="As --from.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    context: click.Context,
    *,
    clip: Path,
    identity_files: tuple[str, ...],
    ca: Path,
    crls: tuple[Path, ...],
    output: Path,
    start: str | None,
    end: str | None,
    as_json: bool,
) -> None:
    """Write CLIP as OUTPUT, an MP4, and a report beside it: OUTPUT.html and OUTPUT.json.

    The clip is verified first; nothing is written of one that is not authentic. A whole clip comes out byte for
    byte as it was recorded. With --from or --to it is an excerpt, widened to whole groups of pictures and not
    encoded again. Nothing is overwritten.

    \b
    Exit status: 0 done; 1 it failed; 2 wrong usage; 3 not authentic; 4 the clip
    was interrupted, what is there was written; 5 no identity opens it, or what
    is needed to tell is missing. With 1, 2, 3 and 5 nothing was written.
    """  # noqa: D301 -- \b is click's mark for lines that keep their breaks
    from evidence.errors import EvidenceError

    moments = _moment(start), _moment(end)
    try:
        exported = _export(clip, identity_files, ca, crls, output=output, moments=moments)
    except EvidenceError as error:
        status = status_of(error)
        outcome = Outcome(exit_status=status, error=" ".join(str(error).split()))
    else:
        outcome = _outcome(exported)
    _print(outcome, as_json=as_json)
    context.exit(outcome.exit_status)


def _export(
    clip: Path,
    identity_files: tuple[str, ...],
    ca: Path,
    crls: tuple[Path, ...],
    *,
    output: Path,
    moments: "tuple[Moment | None, Moment | None]",
) -> "Exported":
    from evidence.check import check_sealed_clip
    from evidence.clock import format_utc
    from evidence.export.report import ExportRequest, export_clip
    from evidence.paths import load_roots
    from evidence.revocation import load_revocations
    from preroll.identities import read_identities

    roots, revocations = load_roots(ca), load_revocations(crls)
    identities = read_identities(identity_files)
    with progress("verified") as verified, progress("written") as written:
        return export_clip(
            ExportRequest(clip=clip, output=output, start=moments[0], end=moments[1]),
            check=lambda path: check_sealed_clip(path, roots, revocations=revocations, advance=verified),
            identities=identities,
            made_utc=format_utc(int(datetime.now(UTC).timestamp()) * 1_000_000_000),
            software=f"Preroll {importlib.metadata.version('preroll')}",
            advance=written,
        )


def _moment(text: str | None) -> "Moment | None":
    from evidence.export.moments import MomentError, parse_moment

    try:
        return None if text is None else parse_moment(text)
    except MomentError as error:
        raise click.UsageError(str(error)) from error


def status_of(error: Exception) -> Exit:
    """Return the exit status for an error of export or handover."""
    from evidence.age import AgeChunkError, AgeHeaderError, AgeKeyError, AgeNoIdentityError, AgeTruncatedError
    from evidence.der import CertificateError
    from evidence.export.excerpt import ExcerptError
    from evidence.export.footage import EmptyClipError
    from evidence.export.gate import DoubtfulClipError, UnauthenticClipError
    from evidence.export.moments import MomentError
    from evidence.export.target import OutputExistsError
    from evidence.paths import PathError
    from evidence.revocation import RevocationError
    from evidence.signer import SignerError

    match error:
        case UnauthenticClipError() | AgeHeaderError() | AgeChunkError():
            return Exit.NOT_AUTHENTIC
        case DoubtfulClipError() | AgeNoIdentityError():
            return Exit.CANNOT_TELL
        case EmptyClipError() | AgeTruncatedError():
            return Exit.INCOMPLETE
        case AgeKeyError() | CertificateError() | PathError() | RevocationError() | SignerError():
            return Exit.USAGE
        case ExcerptError() | MomentError() | OutputExistsError():
            return Exit.USAGE
        case _:
            return Exit.FAILED


@contextlib.contextmanager
def progress(word: str) -> Iterator[Callable[[int], None]]:
    """Count mebibytes on standard error, if it is a terminal; yields what hears of the bytes done."""
    done, shown, stream = 0, 0, sys.stderr
    on = stream.isatty()

    def advance(count: int) -> None:
        nonlocal done, shown
        done += count
        if on and done // (16 * _MIB) > shown:
            shown = done // (16 * _MIB)
            stream.write(f"\r{word} {done // _MIB} MiB")
            stream.flush()

    try:
        yield advance
    finally:
        if shown:
            stream.write("\r\x1b[K")
            stream.flush()


def _outcome(exported: "Exported") -> Outcome:
    report = exported.report
    return Outcome(
        exit_status=Exit.DONE if exported.complete else Exit.INCOMPLETE,
        output=str(exported.output),
        html=str(exported.html),
        json=str(exported.json),
        sha256=report.output.sha256,
        start_ns=report.covered.start_ns,
        end_ns=report.covered.end_ns,
        frames=report.covered_frames,
    )


def _print(outcome: Outcome, *, as_json: bool) -> None:
    if outcome.error is not None:
        click.echo(f"preroll: {outcome.error}", err=True)
    elif outcome.exit_status == Exit.INCOMPLETE:
        click.echo("preroll: the clip was interrupted: its end is missing; what is there was written", err=True)
    if as_json:
        click.echo(msgspec.json.encode(outcome).decode())
    elif outcome.error is None:
        assert outcome.start_ns is not None  # where there is no error there is footage
        assert outcome.end_ns is not None
        click.echo(f"{outcome.output}\tfrom {outcome.start_ns / 1e9:.3f} s to {outcome.end_ns / 1e9:.3f} s")
        click.echo(f"{outcome.html}\tthe report, for people")
        click.echo(f"{outcome.json}\tthe report, for programs")
