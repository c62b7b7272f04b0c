"""`preroll clip decrypt`: any age v1 file, with identities or a passphrase.

Nothing that failed authentication is written; what came before it stays, and the exit status tells.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, TextIO

import click
import msgspec

from preroll.exits import Exit

if TYPE_CHECKING:
    from evidence.age import AgeError, Identity

__all__ = ["Outcome", "command"]

_STANDARD_STREAM = "-"
_MAX_KEY_FILE_BYTES = 1 << 24
_PROGRESS_STEP_BYTES = 16 << 20  # also the size from which progress is shown
_MIB = 1 << 20


class Outcome(msgspec.Struct, frozen=True):
    """What `--json` prints; `recipients` are the kinds of the stanzas, `error` is `null` if all went well."""

    exit_status: int
    plaintext_bytes: int
    armored: bool | None = None
    recipients: tuple[str, ...] | None = None
    error: str | None = None


@click.command(name="decrypt", short_help="Decrypt an age file.")
@click.option(
    "-i", "--identity", "identity_files", multiple=True, metavar="IDENTITY", help="Identity file; repeatable."
)
@click.option(
    "--passphrase-file", metavar="FILE", help="File that holds the passphrase; one last newline is dropped."
)
@click.option(
    "-o", "--output", "output_name", required=True, metavar="OUTPUT", help="Where to; - for standard output."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the outcome as JSON (on standard error with `-o -`)."
)
@click.argument("input_name", metavar="INPUT")
@click.pass_context
def command(
    context: click.Context,
    *,
    identity_files: tuple[str, ...],
    passphrase_file: str | None,
    output_name: str,
    as_json: bool,
    input_name: str,
) -> None:
    """Decrypt INPUT, any age v1 file (binary or armored, - for standard input).

    \b
    Exit status: 0 decrypted whole; 1 it failed; 2 wrong usage; 3 not authentic;
    4 the file ends early or only its last chunk fails; 5 no identity opens it.
    What was authentic before an error stays written.
    """  # noqa: D301 -- \b is click's mark for lines that keep their breaks
    if bool(identity_files) == (passphrase_file is not None):
        raise click.UsageError("give identities (-i) or a passphrase file (--passphrase-file), one of the two")
    if _same_file(input_name, output_name):
        raise click.UsageError("INPUT and OUTPUT are the same file")
    outcome = _decrypt(identity_files, passphrase_file, input_name, output_name)
    _report(outcome, output_name, as_json=as_json)
    context.exit(outcome.exit_status)


def _decrypt(
    identity_files: tuple[str, ...], passphrase_file: str | None, input_name: str, output_name: str
) -> Outcome:
    from evidence.age import AgeError, decrypt_file

    try:
        identities = _read_identities(identity_files, passphrase_file)
    except (AgeError, OSError) as error:
        return Outcome(exit_status=Exit.USAGE, plaintext_bytes=0, error=_one_line(error))
    target = _Target(output_name)
    try:
        with _open_input(input_name) as source, target:
            result = decrypt_file(source, target, identities)
            target.create()
    except AgeError as error:
        return Outcome(
            exit_status=_status_of(error), plaintext_bytes=error.plaintext_bytes, error=_one_line(error)
        )
    except OSError as error:
        return Outcome(exit_status=Exit.FAILED, plaintext_bytes=target.written_bytes, error=_one_line(error))
    return Outcome(
        exit_status=Exit.DONE,
        plaintext_bytes=result.plaintext_bytes,
        armored=result.armored,
        recipients=result.kinds,
    )


def _status_of(error: "AgeError") -> Exit:
    from evidence.age import AgeArmorError, AgeChunkError, AgeHeaderError, AgeNoIdentityError, AgeTruncatedError

    match error:
        case AgeHeaderError() | AgeArmorError() | AgeChunkError():
            return Exit.NOT_AUTHENTIC
        case AgeTruncatedError():
            return Exit.INCOMPLETE
        case AgeNoIdentityError():
            return Exit.CANNOT_TELL
        case _:
            return Exit.FAILED


def _read_identities(identity_files: tuple[str, ...], passphrase_file: str | None) -> "list[Identity]":
    from evidence.age import AgeKeyError, PassphraseIdentity, parse_identities

    if passphrase_file is not None:
        return [PassphraseIdentity(_read_key_file(passphrase_file).removesuffix(b"\n"))]
    identities: list[Identity] = []
    for name in identity_files:
        try:
            identities += parse_identities(_read_key_file(name).decode())
        except UnicodeDecodeError:
            raise AgeKeyError(f"{name} is no identity file", expected="UTF-8 text") from None  # would quote it
        except AgeKeyError as error:
            raise AgeKeyError(
                f"{name}: {error.what}", expected=error.expected, found=error.found, remedy=error.remedy
            ) from error
    return identities


def _read_key_file(name: str) -> bytes:
    from evidence.age import AgeKeyError

    with Path(name).open("rb") as file:
        content = file.read(_MAX_KEY_FILE_BYTES + 1)
    if len(content) > _MAX_KEY_FILE_BYTES:
        raise AgeKeyError(f"{name} is no key file", expected="at most 16 MiB", found="more")
    return content


@contextlib.contextmanager
def _open_input(name: str) -> Iterator[BinaryIO]:
    if name == _STANDARD_STREAM:
        yield sys.stdin.buffer
        return
    with Path(name).open("rb") as file:
        yield file


class _Target:
    """The output: created when the first authentic byte comes, so that a wrong key harms no older file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._file: BinaryIO | None = None
        self._progress = _Progress(sys.stderr, quiet=name == _STANDARD_STREAM and sys.stdout.isatty())
        self.written_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.clear()
        if self._file is not None:
            self._file.flush()
            if self._name != _STANDARD_STREAM:
                self._file.close()

    def create(self) -> BinaryIO:
        """Open the output if it is not open yet."""
        if self._file is None:
            if self._name == _STANDARD_STREAM:
                self._file = sys.stdout.buffer
            else:
                self._file = Path(self._name).open("wb")  # noqa: SIM115 -- closed by __exit__
        return self._file

    def write(self, data: memoryview) -> None:
        """Write all of `data`."""
        self.create().write(data)
        self.written_bytes += len(data)
        self._progress.show(self.written_bytes)


class _Progress:
    """A line on standard error that counts mebibytes; only on a terminal, and only for large output."""

    def __init__(self, stream: TextIO, *, quiet: bool) -> None:
        self._stream = stream
        self._on = stream.isatty() and not quiet
        self._next_bytes = _PROGRESS_STEP_BYTES
        self._shown = False

    def show(self, done_bytes: int) -> None:
        """Tell how far it is, at most once every 16 MiB."""
        if self._on and done_bytes >= self._next_bytes:
            self._next_bytes = done_bytes + _PROGRESS_STEP_BYTES
            self._stream.write(f"\rdecrypted {done_bytes // _MIB} MiB")
            self._stream.flush()
            self._shown = True

    def clear(self) -> None:
        """Leave an empty line for what comes next."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def _same_file(input_name: str, output_name: str) -> bool:
    if _STANDARD_STREAM in (input_name, output_name):
        return False
    try:
        return Path(input_name).samefile(output_name)
    except OSError:
        return False  # one of them does not exist: opening it will say so


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())


def _report(outcome: Outcome, output_name: str, *, as_json: bool) -> None:
    if outcome.error is not None:
        kept = (
            f" ({outcome.plaintext_bytes} authentic bytes before it are written)"
            if outcome.plaintext_bytes
            else ""
        )
        click.echo(f"preroll: {outcome.error}{kept}", err=True)
    if as_json:
        click.echo(msgspec.json.encode(outcome).decode(), err=output_name == _STANDARD_STREAM)
    elif outcome.error is None and output_name != _STANDARD_STREAM:
        click.echo(f"decrypted {outcome.plaintext_bytes} bytes to {output_name}")
