"""A policy on trial: taken back whatever the ring holds; and one on the card that is not the agency's word."""

import types
from pathlib import Path
from typing import Any

import msgspec
import pytest

from device.config import parse_config
from device.policy import Policy, PolicyError, load_policy, policy_of
from device.policycheck import doubt_about
from device.policyswitch import PolicySwitch
from evidence.age.keyfiles import generate_identity
from evidence.agency import SubjectKind, create_agency, issue_new
from evidence.cms import sign_cms
from evidence.documents import Config, Gestures, Sound, encode
from evidence.roles import Role
from evidence.signer import load_signer

NS_PER_S = 1_000_000_000
_RECIPIENT = str(generate_identity().recipient())


def document(version: int, window_s: int) -> bytes:
    config = Config(
        version=version,
        devices=("cam0042",),
        recipients=(_RECIPIENT,),
        window_ns=window_s * NS_PER_S,
        sound=Sound(recording=True, before_press=False),
        gestures=Gestures(hold_ns=3 * NS_PER_S, confirm_stop=False, confirm_ns=5 * NS_PER_S),
        limit_ns=3600 * NS_PER_S,
        reminder_ns=0,
        stealth=False,
        hold_ns=0,
        revocations=(),
    )
    return encode(config)


def policy(version: int, window_s: int) -> Policy:
    return policy_of(document(version, window_s), "cam0042")


class Ring:
    """As much of a ring as a switch asks about: how much it holds, and for how long."""

    def __init__(self, held_bytes: int) -> None:
        self.window_ns = 0
        self.held_bytes = held_bytes

    def stats(self) -> Any:
        return types.SimpleNamespace(held_ns=10 * NS_PER_S, held_bytes=self.held_bytes)

    def set_window(self, window_ns: int) -> None:
        self.window_ns = window_ns


def switch_of(first: Policy, ring: Ring) -> PolicySwitch:
    config = parse_config(
        f'[device]\nid = "cam0042"\n[ring]\nlimit_mib = 16\n[policy]\nrecipients = ["{_RECIPIENT}"]\n', "test"
    )
    nothing: Any = types.SimpleNamespace(
        set_before_press=lambda _: None, set_policy=lambda _: None, set_hold=lambda _: None
    )
    return PolicySwitch(
        first,
        config,
        ring=ring,  # type: ignore[arg-type]  # as much of one as is asked for
        gate=nothing,
        panel=nothing,
        post=lambda _: None,
        set_sound=lambda _: None,
    )


def test_a_window_that_the_ring_cannot_hold_is_refused_and_nothing_changes() -> None:
    old, ring = policy(1, 10), Ring(10 << 20)
    switch = switch_of(old, ring)
    with pytest.raises(PolicyError, match="window_ns"):
        switch.apply(policy(2, 60))
    assert switch.current is old
    assert ring.window_ns == 0


def test_a_trial_can_be_taken_back_though_the_ring_would_no_longer_hold_the_old_window() -> None:
    old, ring = policy(1, 30), Ring(1 << 20)
    switch = switch_of(old, ring)
    switch.apply(policy(2, 5))
    ring.held_bytes = 10 << 20  # the scene has become busy meanwhile
    switch.apply(old)
    assert switch.current is old
    assert ring.window_ns == 30 * NS_PER_S
    with pytest.raises(PolicyError):
        switch.apply(policy(3, 30))


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    create_agency("Test Trust", tmp_path / "agency")
    issue_new(SubjectKind.CONFIG, "policy", tmp_path / "agency", tmp_path / "office")
    issue_new(SubjectKind.DOCK, "dock7", tmp_path / "agency", tmp_path / "dock")
    content = document(7, 30)
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "config.json").write_bytes(content)
    signature = sign_cms(content, load_signer(tmp_path / "office", Role.CONFIG))
    (tmp_path / "vault" / "config.p7s").write_bytes(signature)
    return tmp_path / "vault"


def loaded(vault: Path) -> Policy:
    config = parse_config(
        f'[device]\nid = "cam0042"\nvault = "{vault}"\n[policy]\nrecipients = ["{_RECIPIENT}"]\n', "test"
    )
    return load_policy(config, vault.parent)


def test_what_the_agency_signed_is_believed(vault: Path) -> None:
    found = loaded(vault)
    assert (found.pushed, found.document.version) == (True, 7)
    assert doubt_about(found, vault, vault.parent / "agency" / "root" / "root.pem") == ""


def test_what_anyone_else_put_there_is_not(vault: Path) -> None:
    root = vault.parent / "agency" / "root" / "root.pem"
    found, content = loaded(vault), (vault / "config.json").read_bytes()
    assert "nothing.pem" in doubt_about(found, vault, vault / "nothing.pem")
    by_dock = sign_cms(content, load_signer(vault.parent / "dock", Role.DOCK_RECEIPT))
    (vault / "config.p7s").write_bytes(by_dock)
    assert "wrong role" in doubt_about(found, vault, root)
    (vault / "config.p7s").unlink()
    assert doubt_about(found, vault, root)
    (vault / "config.json").write_bytes(document(8, 30))
    assert "changed" in doubt_about(found, vault, root)
    (vault / "config.json").unlink()
    assert "changed" in doubt_about(found, vault, root)


def test_the_cameras_own_toml_needs_no_signature(vault: Path) -> None:
    own = msgspec.structs.replace(policy(0, 30), pushed=False)
    assert doubt_about(own, vault, vault / "nothing.pem") == ""
