"""A stock HTTPS client with the dock's certificate reads a real vault, and all that it gets is in the document.

Each answer is held against the committed `docs/openapi.json`: status, type, header fields and body.
"""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no types
import msgspec
import pytest

from tests.device.dockport.dockbench import DockBench

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "docs" / "openapi.json").read_text(encoding="utf-8")
)
SERVER: str = DOCUMENT["servers"][0]["url"]


class Answer(msgspec.Struct, frozen=True):
    """What curl got."""

    status: int
    fields: dict[str, str]
    body: bytes


def get(bench: DockBench, path: str, *arguments: str) -> Answer:
    """GET with curl at the server that the document names; the answer fits the operation's entry."""
    assert bench.port.tcp is not None
    trust = bench.agency.trust()
    host = SERVER.removeprefix("https://")
    command = ["curl", "--silent", "--show-error", "--max-time", "20", "--include"]
    command += ["--connect-to", f"{host}:443:127.0.0.1:{bench.port.tcp.number}", "--insecure"]
    command += ["--cert", str(trust.chain), "--key", str(trust.key), *arguments, f"{SERVER}{path}"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    answer = Answer(int(lines[0].split()[1]), fields, body)
    check(path, answer)
    return answer


def check(path: str, answer: Answer) -> None:
    """Hold an answer against the document."""
    entry = operation(path)["responses"][str(answer.status)]
    for name in entry.get("headers", {}):
        assert name.lower() in answer.fields
    content = entry.get("content", {})
    if not content:
        assert answer.body == b""
        return
    (kind, media), *_ = content.items()
    assert answer.fields["content-type"] == kind
    if "schema" in media:
        schema = {**media["schema"], "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(schema).validate(json.loads(answer.body))


def operation(path: str) -> dict[str, Any]:
    """Find the operation of a path, whose parameters fit the schemas that it has for them."""
    plain, _, query = path.partition("?")
    for template, operations in DOCUMENT["paths"].items():
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)
        found = re.fullmatch(pattern, plain)
        if found and "get" in operations:
            given = found.groupdict() | dict(pair.split("=", 1) for pair in query.split("&") if pair)
            for parameter in operations["get"]["parameters"]:
                if parameter["name"] in given:
                    jsonschema.validate(given[parameter["name"]], parameter["schema"])
            entry: dict[str, Any] = operations["get"]
            return entry
    raise AssertionError(f"{path} is not in the document")


def test_curl_lists_page_by_page(bench: DockBench) -> None:
    page = json.loads(get(bench, "/v1/clips").body)
    assert [entry["clip"] for entry in page["clips"]] == bench.names
    assert {entry["state"] for entry in page["clips"]} == {"sealed"}
    rest = json.loads(get(bench, f"/v1/clips?after={bench.names[0]}").body)
    assert [entry["clip"] for entry in rest["clips"]] == bench.names[1:]
    assert json.loads(get(bench, "/v1/device").body)["device"] == "cam0042"


def test_curl_fetches_every_file_with_its_digest_as_tag(bench: DockBench) -> None:
    files = bench.bytes_of(bench.names[0])
    listed = json.loads(get(bench, "/v1/clips").body)["clips"][0]
    for name in ("clip.mp4.age", "journal.jsonl", "manifest.json", "manifest.p7s"):
        answer = get(bench, f"/v1/clips/{bench.names[0]}/{name}")
        assert (answer.status, answer.body) == (200, files[name])
        assert answer.fields["etag"] == f'"{hashlib.sha256(files[name]).hexdigest()}"'
    assert listed["manifest_sha256"] == hashlib.sha256(files["manifest.json"]).hexdigest()


@pytest.mark.parametrize(
    ("range_", "start", "stop"),
    [("1000-1999", 1000, 2000), ("0-0", 0, 1), ("70000-", 70_000, None), ("-100", -100, None)],
)
def test_curl_fetches_parts(bench: DockBench, range_: str, start: int, stop: int | None) -> None:
    whole = bench.bytes_of(bench.names[0])["clip.mp4.age"]
    answer = get(bench, f"/v1/clips/{bench.names[0]}/clip.mp4.age", "--range", range_)
    part = whole[start:stop]
    assert (answer.status, answer.body) == (206, part)
    first = start % len(whole)
    assert answer.fields["content-range"] == f"bytes {first}-{first + len(part) - 1}/{len(whole)}"


def test_curl_puts_a_clip_together_from_parts(bench: DockBench) -> None:
    path = f"/v1/clips/{bench.names[0]}/clip.mp4.age"
    first = get(bench, path, "--range", "0-99999")
    tag, total = first.fields["etag"], int(first.fields["content-range"].rpartition("/")[2])
    data = first.body
    while len(data) < total:
        stop = min(total, len(data) + 100_000) - 1
        part = get(bench, path, "--range", f"{len(data)}-{stop}", "-H", f"If-Range: {tag}")
        assert part.status == 206
        data += part.body
    assert f'"{hashlib.sha256(data).hexdigest()}"' == tag


def test_curl_is_answered_in_words_where_there_is_nothing(bench: DockBench) -> None:
    path = f"/v1/clips/{bench.names[0]}/clip.mp4.age"
    tag = get(bench, path, "--range", "0-0").fields["etag"]
    assert get(bench, path, "-H", f"If-None-Match: {tag}").status == 304
    assert get(bench, path, "--range", "0-9", "-H", f'If-Range: "{"0" * 64}"').status == 200
    assert get(bench, path, "--range", "99999999-").status == 416
    assert get(bench, "/v1/clips/notime-cam0042-000099/manifest.json").status == 404
    assert get(bench, f"/v1/clips/{bench.names[0]}/tail.bin").status == 404
    with bench.dock() as client:
        bench.give_receipt(bench.names[0], client)
    bench.hold(0)
    bench.look()
    assert get(bench, path).status == 410
