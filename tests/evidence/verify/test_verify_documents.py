"""What lies beside clips, altered anywhere: never authentic, never a traceback; and the line of progress."""

import io
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evidence.holdings import HoldingsError, claimed_start, clip_number, find_holdings, load_store
from evidence.revocation import RevocationError, load_crl
from preroll.commands.clip_dispose import command as dispose_command
from preroll.commands.clip_verify import command as verify_command
from preroll.commands.keys import command as keys_command
from preroll.verify.progress import Progress

if TYPE_CHECKING:
    from tests.evidence.verify.conftest import Agency, Dock, Verify

_PLACES = 10
_fuzz = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def flips(path: Path) -> "list[bytes]":
    good = path.read_bytes()
    found = []
    for bit in random.Random(path.name).sample(range(len(good) * 8), _PLACES):
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        found.append(bytes(data))
    return found


def test_flipped_bits_of_documents(full_store: Path, agency: "Agency", dock: "Dock", verify: "Verify") -> None:
    first, second, third = sorted((full_store / "clips" / "cam0042").iterdir())[:3]
    arguments = [str(first), "--reason", "ended", "--signer", str(agency.keys("j.doe"))]
    assert CliRunner().invoke(dispose_command, arguments).exit_code == 0
    dock.receipt(third)
    dock.store = "another-store"
    dock.receipt(second)
    stone = dock.bury(second, full_store / "tombstones" / "cam0042")
    shutil.rmtree(max((full_store / "clips" / "cam0042").iterdir()))
    assert verify(full_store).status == 4  # and one clip less to verify each time
    documents = [
        *full_store.glob("disposals/*"),
        *full_store.glob("heads/*/*"),
        *third.glob("receipt.*"),
        stone / "journal.jsonl",
    ]
    assert len(documents) == 7
    for path in documents:
        good = path.read_bytes()
        for data in flips(path):
            path.write_bytes(data)
            assert verify(full_store).status == 3, path.name
        path.write_bytes(good)
    assert verify(full_store).status == 4


def test_flipped_bits_of_a_revocation_list(clip: Path, agency: "Agency", tmp_path: Path) -> None:
    own = shutil.copytree(agency.agency, tmp_path / "own")
    certificate = agency.keys("dock7") / "dock-link.pem"
    arguments = ["revoke", str(certificate), "--agency", str(own), "--reason", "lost"]
    assert CliRunner().invoke(keys_command, arguments).exit_code == 0
    path = own / "crl" / "enrol.crl"
    given_arguments = [str(clip), "--ca", str(agency.ca), "--crl", str(path)]
    assert CliRunner().invoke(verify_command, given_arguments).exit_code == 0
    for data in flips(path):
        path.write_bytes(data)
        result = CliRunner().invoke(verify_command, given_arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert result.exit_code in (2, 5), "unusable, or not the issuer's word"


@_fuzz
@given(data=st.binary(max_size=300) | st.binary(max_size=60).map(lambda data: b'{"l":' + data))
def test_any_bytes_as_a_first_line(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(data)
    assert claimed_start(tmp_path) is None


@_fuzz
@given(data=st.binary(max_size=300) | st.binary(max_size=60).map(lambda data: b"0\x82\x01\x00" + data))
def test_any_bytes_as_a_revocation_list(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.crl").write_bytes(data)
    with pytest.raises(RevocationError):
        load_crl(tmp_path / "x.crl")


@_fuzz
@given(data=st.binary(max_size=100))
def test_any_bytes_as_the_facts_of_a_store(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "store.json").write_bytes(data)
    (tmp_path / "clips").mkdir(exist_ok=True)
    with pytest.raises(HoldingsError):
        load_store(tmp_path)
    with pytest.raises(HoldingsError):
        find_holdings(tmp_path)


def test_the_number_in_a_clips_name() -> None:
    assert clip_number("20261122T035453Z-cam-0042-000317") == 317
    assert clip_number("notime-cam0042-1000000") == 1_000_000
    assert clip_number("notime-cam0042-17") is None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals_and_large_stores(recorded: Path, tmp_path: Path) -> None:
    large = tmp_path / "clips" / recorded.name
    large.mkdir(parents=True)
    with (large / "clip.mp4.age").open("wb") as file:
        file.truncate(1 << 30)
    for stream, path, shown in (
        (Terminal(), tmp_path, "verified 256 of 1024 MiB, 25 %"),
        (io.StringIO(), tmp_path, ""),
        (Terminal(), recorded, ""),
    ):
        progress = Progress(stream, [find_holdings(path)])
        progress.advance(256 << 20)
        progress.advance(1)
        progress.clear()
        assert shown in stream.getvalue()
        assert bool(shown) == bool(stream.getvalue())
