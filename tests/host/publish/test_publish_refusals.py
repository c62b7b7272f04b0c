"""A broker that says no: one clear line each, tried again sensibly, nothing lost, no secret told."""

import contextlib
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.publish import Outbox, decode_payload
from host.publish.payloads import BayPayload
from tests.host.publish.brokerbench import TOPICS, Mosquitto, PublishBench, bench, needs_mosquitto, wait_until
from tests.host.publish.brokertls import Authority
from tests.host.publish.test_publish_broker import bay

__all__ = ["bench"]
pytestmark = needs_mosquitto
PASSWORD = "correct horse battery"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "agency")


def tls_broker(bench: PublishBench, authority: Authority, *, expired: bool = False) -> Mosquitto:
    server = authority.issue("broker", server=True, expired=expired)
    return bench.broker(
        f"cafile {authority.file}",
        f"certfile {server.certificate}",
        f"keyfile {server.key}",
        "require_certificate true",
        "use_identity_as_username true",
    )


def password_broker(bench: PublishBench, *lines: str) -> Mosquitto:
    tool = shutil.which("mosquitto_passwd")
    if tool is None:
        pytest.skip("no mosquitto_passwd")
    file = bench.directory / "passwords"
    subprocess.run([tool, "-b", "-c", file, "dock7", PASSWORD], check=True, capture_output=True)
    return bench.broker("allow_anonymous false", f"password_file {file}", *lines)


def secret(bench: PublishBench, password: str) -> str:
    file = bench.directory / "password"
    file.write_text(f"{password}\n")
    return str(file)


def test_client_certificates(bench: PublishBench, authority: Authority) -> None:
    port = tls_broker(bench, authority).port
    dock = authority.issue("dock7", server=False)
    running = bench.publisher(port, tls=True, ca=authority.file, certificate=dock.certificate, key=dock.key)
    running.wait_phase("online")
    running.publisher.event("fault")
    wait_until(lambda: not running.outbox.waiting(0, 1))
    running.publisher.show(bay("1", "x" * 900))
    wait_until(lambda: running.publisher._core.flow.settled_all)
    running.end()
    assert running.troubles == []


@pytest.mark.parametrize("case", ["wrong ca", "expired broker", "expired dock", "no certificate"])
def test_tls_that_does_not_hold(bench: PublishBench, authority: Authority, tmp_path: Path, case: str) -> None:
    port = tls_broker(bench, authority, expired=case == "expired broker").port
    ca = Authority(tmp_path, "stranger").file if case == "wrong ca" else authority.file
    dock = authority.issue("dock7", server=False, expired=case == "expired dock")
    shown = (None, None) if case == "no certificate" else (dock.certificate, dock.key)
    running = bench.publisher(port, tls=True, ca=ca, certificate=shown[0], key=shown[1])
    said = {
        "wrong ca": "its certificate does not hold",
        "expired broker": "certificate has expired",
        "expired dock": "it may not take this dock's `certificate`",
        "no certificate": "it may not take this dock's `certificate`",
    }[case]
    line = running.wait_trouble("the broker")
    assert said in line
    assert "\n" not in line
    _goes_on(running.publisher.event("fault"))
    running.end()
    assert len({each.partition(":")[0] for each in running.troubles}) == 1
    assert len(running.troubles) <= 2  # tried again, told once; TLS has two ways to say no to a dock


def _goes_on(number: int | None) -> None:
    assert number == 1


def test_a_password(bench: PublishBench) -> None:
    port = password_broker(bench).port
    running = bench.publisher(port, user="dock7", password_file=secret(bench, PASSWORD))
    running.wait_phase("online")
    running.end()


def test_a_wrong_password_is_told_once_and_can_be_mended(
    bench: PublishBench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    port = password_broker(bench).port
    file = secret(bench, "not it")
    running = bench.publisher(port, user="dock7", password_file=file)
    line = running.wait_trouble("refuses")
    assert "Not authorized" in line or "Bad user name or password" in line
    _goes_on(running.publisher.event("fault"))
    secret(bench, PASSWORD)
    wait_until(lambda: not running.outbox.waiting(0, 1))
    Path(file).unlink()
    running.end()
    assert running.troubles == [line]
    assert PASSWORD not in caplog.text
    assert "not it" not in caplog.text


def test_a_password_file_that_is_not_there(bench: PublishBench, monkeypatch: pytest.MonkeyPatch) -> None:
    port = password_broker(bench).port
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(bench.directory))
    running = bench.publisher(port, user="dock7", password_file="credential:password")
    assert "No such file" in running.wait_trouble("password file")
    secret(bench, PASSWORD)
    running.wait_phase("online")


def test_a_topic_that_the_broker_does_not_grant(bench: PublishBench) -> None:
    rights = bench.directory / "acl"
    rights.write_text(
        "user dock7\n" + "".join(f"topic write preroll/north/dock7/{n}\n" for n in ("state", "info", "bay/#"))
    )
    broker = password_broker(bench, f"acl_file {rights}")
    running = bench.publisher(broker.port, user="dock7", password_file=secret(bench, PASSWORD))
    running.wait_phase("online")
    running.publisher.event("fault")
    line = running.wait_trouble(f"does not take {TOPICS.event}")
    assert "Not authorized" in line
    running.publisher.show(bay("1"))
    wait_until(lambda: TOPICS.bay("1") in running.outbox.retained())
    assert running.publisher.status.phase == "online"
    assert [each.number for each in running.outbox.waiting(0, 9)] == [1]
    told = len(running.troubles)
    rights.write_text(rights.read_text() + "topic write preroll/north/dock7/event\ntopic read preroll/#\n")
    broker.kill()
    broker.start()
    wait_until(lambda: not running.outbox.waiting(0, 9))
    assert sum(TOPICS.event in each for each in running.troubles[:told]) == 1


# The first limit is told to clients, the second is not: mosquitto's answer is no MQTT, and paho hangs up.
@pytest.mark.parametrize("limit", ["max_packet_size 900", "message_size_limit 500"])
def test_an_oversized_payload_holds_up_nothing(bench: PublishBench, limit: str) -> None:
    port = bench.broker(limit).port
    watcher = bench.watcher(port)
    running = bench.publisher(port)
    running.publisher.event("fault", detail="x" * 1000)
    running.publisher.event("clip_stored")
    running.publisher.show(bay("1", "y" * 1000))
    running.publisher.show(bay("2", "small"))
    watcher.wait(lambda: {each.number for each in watcher.events()} == {1, 2})
    assert {each.number for each in watcher.events() if each.shortened} == {1}
    watcher.wait(lambda: bool(watcher.last(TOPICS.bay("2"))))
    assert decode_payload(watcher.last(TOPICS.bay("2")), BayPayload).detail == "small"
    running.wait_trouble(TOPICS.bay("1"))
    assert not watcher.last(TOPICS.bay("1"))


@contextlib.contextmanager
def old_broker(answer: bytes) -> Iterator[int]:
    """A broker that knows no MQTT 5; counts nothing, answers each CONNECT the same."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(answer)
                        connection.recv(4096)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    "answer", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00"], ids=["as 3.1.1 says it", "as 5 says it"]
)
def test_a_protocol_version_that_is_refused(bench: PublishBench, answer: bytes) -> None:
    with old_broker(answer) as port:
        running = bench.publisher(port)
        line = running.wait_trouble("Unsupported protocol version")
        _goes_on(running.publisher.event("fault"))
        running.end()
    assert running.troubles == [line]
    again = Outbox(bench.directory / "outbox.db")
    assert len(again.waiting(0, 9)) == 1
    again.close()
