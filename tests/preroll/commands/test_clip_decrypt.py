"""`preroll clip decrypt`: exit statuses, streams, and what is left on storage."""

import io
import os
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from pytest_mock import MockerFixture

from evidence.age import CHUNK_BYTES, AgeWriter, PublicIdentity, generate_identity, identity_file_text
from preroll.commands.clip_decrypt import Outcome, _Progress, command
from preroll.exits import Exit

PLAINTEXT = bytes(range(256)) * 1024


class Bench:
    """An identity file, an encrypted file, and a way to call the command."""

    def __init__(self, directory: Path) -> None:
        self.identity: PublicIdentity = generate_identity()
        self.keys = directory / "identity.txt"
        self.keys.write_text(identity_file_text(self.identity, created_utc="2026-11-22T00:00:00Z"))
        self.source = directory / "clip.mp4.age"
        self.output = directory / "clip.mp4"
        file = io.BytesIO()
        writer = AgeWriter([self.identity.recipient()], file.write)
        writer.write(PLAINTEXT)
        writer.close()
        self.file = file.getvalue()
        self.source.write_bytes(self.file)

    def run(
        self, *extra: str, source: str | None = None, output: str | None = None, data: bytes = b""
    ) -> Result:
        names = [source or str(self.source), "-o", output or str(self.output)]
        return CliRunner().invoke(command, ["-i", str(self.keys), *names, *extra], input=data)

    def outcome(self, result: Result) -> Outcome:
        return msgspec.json.decode(result.stdout, type=Outcome)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_file_is_decrypted(bench: Bench) -> None:
    result = bench.run()
    assert result.exit_code == Exit.DONE
    assert result.stdout == f"decrypted {len(PLAINTEXT)} bytes to {bench.output}\n"
    assert result.stderr == ""
    assert bench.output.read_bytes() == PLAINTEXT


def test_json(bench: Bench) -> None:
    assert bench.outcome(bench.run("--json")) == Outcome(
        exit_status=0, plaintext_bytes=len(PLAINTEXT), armored=False, recipients=("X25519",), error=None
    )


def test_standard_streams(bench: Bench) -> None:
    result = bench.run("--json", source="-", output="-", data=bench.file)
    assert result.exit_code == Exit.DONE
    assert result.stdout_bytes == PLAINTEXT
    assert msgspec.json.decode(result.stderr, type=Outcome).plaintext_bytes == len(PLAINTEXT)


def test_several_identities(bench: Bench, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(generate_identity(post_quantum=True).secret_text())
    assert bench.run("-i", str(other)).exit_code == Exit.DONE


def test_an_empty_file_makes_an_empty_file(bench: Bench) -> None:
    file = io.BytesIO()
    AgeWriter([bench.identity.recipient()], file.write).close()
    bench.source.write_bytes(file.getvalue())
    assert bench.run().exit_code == Exit.DONE
    assert bench.output.read_bytes() == b""


def test_an_interrupted_clip_leaves_its_whole_chunks(bench: Bench) -> None:
    bench.source.write_bytes(bench.file[:200_000])
    result = bench.run("--json")
    assert result.exit_code == Exit.INCOMPLETE
    assert bench.output.read_bytes() == PLAINTEXT[: 3 * CHUNK_BYTES]
    assert bench.outcome(result).plaintext_bytes == 3 * CHUNK_BYTES
    assert result.stderr.count("\n") == 1
    assert f"({3 * CHUNK_BYTES} authentic bytes before it are written)" in result.stderr


def test_damage_in_the_middle_is_not_authentic(bench: Bench) -> None:
    damaged = bytearray(bench.file)
    damaged[100_000] ^= 1
    bench.source.write_bytes(damaged)
    assert bench.run().exit_code == Exit.NOT_AUTHENTIC
    assert bench.output.read_bytes() == PLAINTEXT[:CHUNK_BYTES]


@pytest.mark.parametrize("content", [b"", b"no age file\n", b"age-encryption.org/v1\n"])
def test_what_is_no_age_file_is_not_authentic(bench: Bench, content: bytes) -> None:
    bench.source.write_bytes(content)
    assert bench.run().exit_code == Exit.NOT_AUTHENTIC
    assert not bench.output.exists()


def test_a_wrong_identity_harms_no_older_output(bench: Bench) -> None:
    bench.keys.write_text(generate_identity().secret_text())
    bench.output.write_bytes(b"older")
    result = bench.run()
    assert result.exit_code == Exit.CANNOT_TELL
    assert bench.output.read_bytes() == b"older"
    assert result.stderr.startswith("preroll: no given identity opens the age file")


def test_a_passphrase_where_an_identity_is_needed(bench: Bench, tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("open sesame\n")
    names = [str(bench.source), "-o", str(bench.output), "--passphrase-file", str(secret)]
    assert CliRunner().invoke(command, names).exit_code == Exit.CANNOT_TELL
    assert CliRunner().invoke(command, [*names, "-i", str(bench.keys)]).exit_code == Exit.USAGE
    secret.write_text("\n")
    result = CliRunner().invoke(command, names)
    assert result.exit_code == Exit.USAGE
    assert "passphrase is empty" in result.stderr


def test_only_one_newline_of_a_passphrase_is_dropped(
    bench: Bench, tmp_path: Path, mocker: MockerFixture
) -> None:
    made = mocker.patch("evidence.age.PassphraseIdentity", autospec=True)
    made.return_value.unwrap.return_value = None
    made.return_value.kind = "scrypt"
    secret = tmp_path / "passphrase"
    secret.write_bytes(b"open sesame \r\n\n")
    CliRunner().invoke(command, [str(bench.source), "-o", str(bench.output), "--passphrase-file", str(secret)])
    made.assert_called_once_with(b"open sesame \r\n")


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"AGE-SECRET-KEY-1WRONG\n", b"\xff\xfe", None])
def test_a_useless_identity_file_is_wrong_usage(bench: Bench, content: bytes | None) -> None:
    bench.keys.unlink()
    if content is not None:
        bench.keys.write_bytes(content)
    result = bench.run()
    assert result.exit_code == Exit.USAGE
    assert result.stderr.startswith(f"preroll: {bench.keys}")
    assert result.stderr.count("\n") == 1
    assert "WRONG" not in result.stderr


def test_wrong_usage(bench: Bench) -> None:
    assert CliRunner().invoke(command, [str(bench.source), "-o", str(bench.output)]).exit_code == Exit.USAGE
    assert CliRunner().invoke(command, [str(bench.source), "-i", str(bench.keys)]).exit_code == Exit.USAGE
    same = bench.run(output=str(bench.source))
    assert same.exit_code == Exit.USAGE
    assert bench.source.read_bytes() == bench.file


def test_a_missing_input_is_a_failure(bench: Bench) -> None:
    result = bench.run(source=str(bench.source.with_name("none")))
    assert result.exit_code == Exit.FAILED
    assert result.stderr.startswith("preroll: ")
    assert "No such file" in result.stderr
    assert not bench.output.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_a_failure(bench: Bench) -> None:
    result = bench.run(output=os.devnull.replace("null", "full"))
    assert result.exit_code == Exit.FAILED
    assert result.stderr == "preroll: No space left on device\n"


class Terminal(io.StringIO):
    """Standard error as a person sees it."""

    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals_and_large_output() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream, quiet in ((terminal, False), (pipe, False)):
        progress = _Progress(stream, quiet=quiet)
        for mebibytes in range(1, 41):
            progress.show(mebibytes << 20)
        progress.clear()
    assert terminal.getvalue() == "\rdecrypted 16 MiB\rdecrypted 32 MiB\r\x1b[K"
    assert pipe.getvalue() == ""
    small = Terminal()
    progress = _Progress(small, quiet=False)
    progress.show(1 << 20)
    progress.clear()
    assert small.getvalue() == ""
