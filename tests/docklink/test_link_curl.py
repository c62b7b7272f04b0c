"""A stock HTTPS client with the dock's certificate lists and fetches, as the OpenAPI document says."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docklink.linkbench import CLIP, OTHER_CLIP, Bench

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def curl(bench: Bench, target: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    trust = bench.agency.dock_trust()
    root = bench.agency.directory / "agency" / "root" / "root.pem"
    # The name in the certificate is the camera's id, as subject: curl looks for it as an address' name, hence
    # --insecure; the chain is judged by --cacert in `test_curl_knows_the_camera_by_its_chain`.
    command = ["curl", "--silent", "--show-error", "--max-time", "20", "--tlsv1.3", "--insecure", "--include"]
    command += ["--cert", str(trust.chain), "--key", str(trust.key), "--cacert", str(root), *arguments]
    return subprocess.run([*command, target], capture_output=True, check=False)


def parts(result: subprocess.CompletedProcess[bytes]) -> tuple[int, dict[str, str], bytes]:
    assert result.returncode == 0, result.stderr
    head, _, body = result.stdout.partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return int(lines[0].split()[1]), fields, body


def test_curl_lists_and_fetches_with_ranges(bench: Bench, content: bytes) -> None:
    base = f"https://127.0.0.1:{bench.listen()}/v1"
    status, fields, body = parts(curl(bench, f"{base}/clips"))
    assert (status, fields["content-type"]) == (200, "application/json")
    assert [entry["clip"] for entry in json.loads(body)["clips"]] == [CLIP, OTHER_CLIP]
    file = f"{base}/clips/{CLIP}/clip.mp4.age"
    status, fields, body = parts(curl(bench, file))
    assert (status, body) == (200, content)
    assert fields["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    status, fields, body = parts(curl(bench, file, "--range", "1000-1999"))
    assert (status, body) == (206, content[1000:2000])
    assert fields["content-range"] == f"bytes 1000-1999/{len(content)}"
    assert parts(curl(bench, file, "--range", "99999999-"))[0] == 416
    assert parts(curl(bench, file, "-H", f"If-None-Match: {fields['etag']}"))[0] == 304
    assert parts(curl(bench, f"{base}/nothing"))[0] == 404
    body = b'{"document":"e30=","cms":"MAA="}'
    receipt = f"{base}/clips/{CLIP}/receipt"
    assert parts(curl(bench, receipt, "--data-binary", body.decode()))[0] == 204
    assert CLIP in bench.camera.receipts


def test_curl_resumes_a_file(bench: Bench, content: bytes, tmp_path: Path) -> None:
    target = tmp_path / "clip"
    target.write_bytes(content[:1_234_567])
    file = f"https://127.0.0.1:{bench.listen()}/v1/clips/{CLIP}/clip.mp4.age"
    arguments = ["--no-include", "--continue-at", "-", "--output", str(target)]
    assert curl(bench, file, *arguments).returncode == 0
    assert target.read_bytes() == content


def test_curl_knows_the_camera_by_its_chain(bench: Bench) -> None:
    number = bench.listen()
    trust = bench.agency.dock_trust()
    root = bench.agency.directory / "agency" / "root" / "root.pem"
    command = ["curl", "--silent", "--max-time", "20", "--cert", str(trust.chain), "--key", str(trust.key)]
    command += ["--connect-to", f"cam0042:443:127.0.0.1:{number}", "--cacert", str(root)]
    found = subprocess.run([*command, "https://cam0042/v1/device"], capture_output=True, check=False)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["device"] == "cam0042"


def test_curl_without_a_certificate_gets_nothing(bench: Bench) -> None:
    target = f"https://127.0.0.1:{bench.listen()}/v1/device"
    found = subprocess.run(
        ["curl", "--silent", "--insecure", "--max-time", "20", target], capture_output=True, check=False
    )
    assert found.returncode != 0
    assert found.stdout == b""
    assert bench.last_end().requests == 0
