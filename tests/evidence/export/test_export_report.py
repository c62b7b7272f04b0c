"""The report: complete, escaped, bounded; and its commands do what it says."""

import html.parser
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from evidence.age import parse_recipient
from evidence.export.facts import CustodyEntry, ExcerptFacts, ExportReport
from evidence.export.handing_over import hand_over
from evidence.export.markup import Markup, style, tag
from evidence.export.page import page
from evidence.export.report import ExportRequest, export_clip
from evidence.export.words import duration
from evidence.frames import Span
from evidence.roles import Role
from evidence.signer import load_signer

if TYPE_CHECKING:
    from tests.evidence.export.conftest import Place

FORMATS = Path(__file__).parents[3] / "docs" / "formats.md"
HOSTILE = "</title><script>alert('x')</script><img src=http://example.org onerror=\"x\">"
MakeReport = Callable[[Path], ExportReport]


class Elements(html.parser.HTMLParser):
    """Collects elements with their attributes, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(text: str) -> Elements:
    elements = Elements()
    elements.feed(text)
    elements.close()
    return elements


@pytest.fixture
def report_of(place: "Place", tmp_path: Path) -> MakeReport:
    def make(clip: Path) -> ExportReport:
        out = tmp_path / "report"
        out.mkdir(exist_ok=True)
        request = ExportRequest(clip=clip, output=out / f"{len(list(out.iterdir()))}.mp4")
        identities = place.identities
        return export_clip(
            request,
            check=place.check,
            identities=identities,
            made_utc="2026-11-22T08:00:00.000000Z",
            software="Preroll test",
        ).report

    return make


@pytest.fixture
def handed(filmed: Path, place: "Place", tmp_path: Path) -> Path:
    """The clip, handed over to its own agency, so that one identity opens both."""
    hand_over(
        filmed,
        tmp_path / "handed",
        check=place.check,
        identities=place.identities,
        recipients=[parse_recipient(place.recipient("agency")), parse_recipient(place.recipient())],
        signer=load_signer(place.directory / "custodian", Role.CUSTODIAN),
        reason=HOSTILE,
        utc="2026-11-25T10:00:00.000000Z",
    )
    return tmp_path / "handed"


def test_the_page_says_what_there_is_to_say(filmed: Path, report_of: MakeReport) -> None:
    report = report_of(filmed)
    text = parsed(page(report)).text
    for words in (
        "Authentic and complete",
        "cam0042, clip number 1",
        "press (button) at 4.000 s",
        "synchronised over the network (NTP); off by at most 0.020 s; set 1:04.000 before the press",
        "holster at 6.250 s",
        "stopped by the wearer",
        "policy: no sound before the press",
        "the camera dropped pictures",
        report.output.sha256,
        report.manifest_sha256,
        "Whether the camera's certificate was revoked was not checked",
        "no press was made at another time",
        "No receipt and no handover lies with the clip, and it lies in no store.",
    ):
        assert words in text, words


def test_the_json_is_the_report(filmed: Path, report_of: MakeReport, tmp_path: Path) -> None:
    report = report_of(filmed)
    (path,) = (tmp_path / "report").glob("*.json")
    assert msgspec.json.decode(path.read_bytes(), type=ExportReport) == report
    assert next(iter(json.loads(path.read_bytes()).items())) == ("type", "preroll-export-v1")


def test_the_fields_are_those_of_the_formats_page() -> None:
    section = FORMATS.read_text("utf-8").split("## Export report: `preroll-export-v1`")[1].split("\n## ")[0]
    documented = [
        name
        for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    ]
    assert documented == ["type", *ExportReport.__struct_fields__]


def test_custody_of_a_handed_over_clip_and_words_by_a_person_are_text(
    handed: Path, report_of: MakeReport
) -> None:
    report = report_of(handed)
    assert report.custody == (
        CustodyEntry("handed over", "j.doe", "2026-11-25T10:00:00.000000Z", "handover.json", HOSTILE),
    )
    elements = parsed(page(report))
    assert HOSTILE in elements.text
    assert not {"script", "img"} & {name for name, _ in elements.found}


def test_custody_of_a_stored_clip(stored: Path, report_of: MakeReport) -> None:
    report = report_of(stored)
    (entry,) = report.custody
    assert (entry.what, entry.by, entry.utc) == ("stored", "dock7-a", "2026-11-22T04:12:40.000000Z")
    assert "dock7" in parsed(page(report)).text


def test_no_field_gets_into_the_markup(filmed: Path, report_of: MakeReport) -> None:
    report = report_of(filmed)
    fields = ("software", "made_utc", "clip", "device", "epoch", "wearer", "firmware", "manifest_sha256")
    names = dict.fromkeys(fields, HOSTILE)
    recording = msgspec.structs.replace(
        report.recording,
        trigger=msgspec.structs.replace(report.recording.trigger, source=HOSTILE, utc=HOSTILE),
        gaps=(Span(0, 5, HOSTILE),),
    )
    hostile = msgspec.structs.replace(
        report,
        **names,
        recording=recording,
        output=msgspec.structs.replace(report.output, name=HOSTILE),
        excerpt=ExcerptFacts(HOSTILE, HOSTILE),
        checks=tuple(
            msgspec.structs.replace(check, detail=HOSTILE, question=HOSTILE) for check in report.checks
        ),
        custody=(CustodyEntry(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE),),
        limits=(HOSTILE,),
    )
    expected = [name for name, _ in parsed(page(report)).found]
    elements = parsed(page(hostile))
    assert {name for name, _ in elements.found} <= {*expected, "strong", "td", "rect"}
    for _, attributes in elements.found:
        assert not {name for name in attributes if name.startswith("on")}
        assert not {"src", "href"} & set(attributes)


def test_nothing_comes_from_outside(filmed: Path, report_of: MakeReport) -> None:
    text = page(report_of(filmed))
    found = re.findall(r"https?://[^\s\"<]+|url\([^)]*\)|@import", text)
    assert set(found) <= {"http://www.w3.org/2000/svg"}  # a name space, which nobody fetches
    metas = [attributes for name, attributes in parsed(text).found if name == "meta"]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    assert {"http-equiv": "Content-Security-Policy", "content": policy} in metas


def test_thousands_of_gaps_make_no_thousands_of_rows(filmed: Path, report_of: MakeReport) -> None:
    report = report_of(filmed)
    gaps = tuple(Span(n * 1_000_000, n * 1_000_000 + 1, "camera_dropped") for n in range(10_000))
    many = msgspec.structs.replace(
        report,
        recording=msgspec.structs.replace(
            report.recording, gaps=gaps, bookmarks=tuple(range(0, 10**10, 10**6))
        ),
    )
    text = page(many)
    assert len(text) < 300_000
    assert "and 9900 more" in text


def test_an_interrupted_clip_is_drawn_with_its_end_missing(cut_off: Path, report_of: MakeReport) -> None:
    text = page(report_of(cut_off))
    assert ">end missing<" in text
    assert "interrupted; no record says by what" in text


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "0.000 s"),
        (-1_500_000_000, "-1.500 s"),
        (59_999_999_999, "59.999 s"),
        (3_723_004_000_000, "1:02:03.004"),
    ],
)
def test_times_read_as_on_a_player(time_ns: int, text: str) -> None:
    assert duration(time_ns) == text


def test_markup_escapes_by_itself() -> None:
    assert (
        tag("p", "<&>", None, Markup("<b>x</b>"), class_='a"b')
        == '<p class="a&quot;b">&lt;&amp;&gt;<b>x</b></p>'
    )
    assert tag("line", x1=1.5, text_anchor=None) == '<line x1="1.5"></line>'
    with pytest.raises(ValueError, match="markup"):
        style("</style>")


@pytest.mark.skipif(not (shutil.which("age") and shutil.which("openssl")), reason="age or openssl is missing")
@pytest.mark.parametrize("which", ["filmed", "handed", "stored"])
def test_the_commands_print_what_the_report_says(
    which: str, request: pytest.FixtureRequest, place: "Place", report_of: MakeReport, tmp_path: Path
) -> None:
    clip = request.getfixturevalue(which)
    work = Path(shutil.copytree(clip, tmp_path / "by-hand"))
    shutil.copy(place.root, work / "root.pem")
    shutil.copy(place.identity, work / "identity.txt")
    report = report_of(clip)
    run = 0
    for check in report.checks:
        for command in check.repeat:
            done = subprocess.run(["sh", "-c", command.run], cwd=work, capture_output=True, check=True)
            printed = " ".join((done.stdout + done.stderr).decode().split())
            if command.expect == "nothing":
                assert printed == "", command.run
            elif "extendedKeyUsage" in command.run:
                assert "CN = cam0042" in printed
                assert "2.25.6604642350452863752728213921585004416.1" in printed
                assert "CN = cam0042" in command.expect
            else:
                assert " ".join(command.expect.split()) in printed, command.run
            run += 1
    assert run >= 11


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_commands_notice_what_was_altered(
    filmed: Path, place: "Place", report_of: MakeReport, clip: Path
) -> None:
    report = report_of(filmed)
    commands = {check.name: [command.run for command in check.repeat] for check in report.checks}
    shutil.copy(place.root, clip / "root.pem")

    def run(name: str, number: int) -> str:
        done = subprocess.run(["sh", "-c", commands[name][number]], cwd=clip, capture_output=True, check=False)
        return (done.stdout + done.stderr).decode()

    run("certificate", 0)
    run("journal", 1)
    data = bytearray((clip / "clip.mp4.age").read_bytes())
    data[len(data) // 2] ^= 1
    (clip / "clip.mp4.age").write_bytes(data)
    assert run("intervals", 0).count("differs") == 1
    lines = (clip / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (clip / "journal.jsonl").write_bytes(
        b"".join([lines[0], lines[1].replace(b'"frames":', b'"frames":9'), *lines[2:]])
    )
    assert "1 Verified OK" in run("journal", 2)
    assert "broken" in run("journal", 3)
    (clip / "manifest.json").write_bytes((clip / "manifest.json").read_bytes() + b" ")
    assert "successful" not in run("signature", 0)
