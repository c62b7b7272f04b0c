"""Figures for Prometheus: by HTTP, as its own parser reads them, of the server alone and of a real agent."""

import socket
import urllib.request
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from host.bays.status import BayState, BayStatus
from host.config import ConfigError, MetricsSection, load_config, parse_config
from host.metrics import MetricsError, MetricsServer, Standing
from host.offload.notices import Notice
from tests.host.bays.test_dock_agent import running, until, write_config
from tests.host.offload.fakecamera import CameraServer, FakeCamera
from tests.host.store.conftest import ClipFactory, Pki, clips, pki

__all__ = ["clips", "pki"]
UTC = "2026-01-01T00:00:00.000000Z"
CLIP = "20260101T000000Z-cam1-000001"
EVERYWHERE = MetricsSection(listen="127.0.0.1:0")


def read(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        assert answer.headers.get_content_type() == "text/plain"
        text = answer.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            labels = "".join(f"{{{value}}}" for value in sample.labels.values())
            found[sample.name.removeprefix("preroll_dock_") + labels] = sample.value
    return found


def notice(kind: str, clip: str | None = CLIP) -> Notice:
    return Notice(UTC, kind, "cam1", clip, "")


def test_what_is_told_is_counted_and_what_stands_is_read() -> None:
    moving = BayStatus(
        "1", "tcp", BayState.OFFLOADING, device="cam1", clip=CLIP, clip_bytes=700, queued=2, queued_bytes=900
    )
    now = Standing(
        (msgspec.structs.replace(moving, oldest=CLIP), BayStatus("2", "tcp")),
        free_bytes=5,
        custody_entries=9,
        broker_connected=False,
        outbox_events=3,
    )
    thirty_s_later = 1_767_225_630 * 10**9
    server = MetricsServer(EVERYWHERE, lambda: now, now_utc_ns=lambda: thirty_s_later)
    try:
        assert read(server.port)["failures_total{clip_quarantined}"] == 0
        server.heard(moving)
        server.heard(notice("clip_stored"))
        server.heard(notice("clip_stored", "20260101T000000Z-cam1-000002"))  # nobody said how long it is
        server.heard(notice("clip_quarantined"))
        server.heard(notice("camera_docked"))
        found = read(server.port)
    finally:
        server.close()
    expected = {
        "offloads_total": 2,
        "offload_bytes_total": 700,
        "failures_total{clip_quarantined}": 1,
        "failures_total{fault}": 0,
        "bays{offloading}": 1,
        "bays{empty}": 1,
        "queue_clips": 2,
        "queue_bytes": 900,
        "oldest_clip_age_seconds": 30,
        "custody_entries": 9,
        "store_free_bytes": 5,
        "outbox_events": 3,
        "broker_connected": 0,
    }
    assert {name: found[name] for name in expected} == expected
    with pytest.raises(OSError, match=r"refused"):
        read(server.port)


def test_without_a_broker_there_are_no_figures_of_one_and_a_clip_without_time_has_no_age() -> None:
    now = Standing((BayStatus("1", "tcp", oldest="notime-cam1-000001"),), None, 0, None, None)
    server = MetricsServer(EVERYWHERE, lambda: now)
    try:
        found = read(server.port)
    finally:
        server.close()
    assert not {"broker_connected", "outbox_events", "store_free_bytes"} & set(found)
    assert found["oldest_clip_age_seconds"] == 0


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MetricsError, match=rf"cannot listen on 127.0.0.1:{port}"):
            MetricsServer(MetricsSection(listen=f"127.0.0.1:{port}"), lambda: Standing((), None, 0, None, None))


def test_a_real_agent_counts_its_offload(tmp_path: Path, pki: "Pki", clips: "ClipFactory") -> None:
    server = CameraServer(FakeCamera(pki, [clips.make(1)]))
    path = write_config(tmp_path, pki, [server.listen()])
    path.write_text(path.read_text() + '[metrics]\nlisten = "127.0.0.1:0"\n')
    with running(load_config(path)) as agent:
        until(agent, BayState.READY)
        assert agent._metrics is not None
        found = read(agent._metrics.port)
    server.close()
    assert found["offloads_total"] == 1
    assert found["offload_bytes_total"] > 1000
    assert (found["bays{ready}"], found["queue_clips"], found["oldest_clip_age_seconds"]) == (1, 0, 0)
    assert found["custody_entries"] >= 2


CONFIG = '[dock]\nid = "d"\n[store]\npath = "s"\nid = "dock7-a"\n[metrics]\n'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('listen = "0.0.0.0:9464"', "an address of loopback, or `beyond_loopback = true`"),
        ('listen = "127.0.0.1:70000"', "65535"),
        ('listen = "999.1.1.1:1"', "an IP address"),
        ('listen = "host:1"', "listen"),
    ],
)
def test_where_it_listens_is_checked(line: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config(CONFIG + line, "dock.toml")


def test_it_is_off_by_default_on_loopback_once_on_and_elsewhere_only_if_said() -> None:
    assert parse_config(CONFIG.removesuffix("[metrics]\n"), "dock.toml").metrics is None
    on = parse_config(CONFIG, "dock.toml").metrics
    assert on is not None
    assert on.address == ("127.0.0.1", 9464)
    wide = parse_config(f'{CONFIG}listen = "[::]:9464"\nbeyond_loopback = true', "dock.toml").metrics
    assert wide is not None
    assert wide.address == ("::", 9464)
