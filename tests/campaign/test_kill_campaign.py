"""Cameras killed with SIGKILL at random instants: what is on disk holds what it promises.

The short form is one kill in twenty of the long one.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.campaign.kills import LOSS_LIMIT_NS, ROOT, Group, Kill, Phase, run_campaign
from tests.campaign.report import write_report
from tests.campaign.stage import Keys, Picture, make_footage

_CARD = 10_000_000
_LOOP_S = 5

MakeGroups = Callable[[bool], list[Group]]


@pytest.fixture
def make_groups(tmp_path_factory: pytest.TempPathFactory) -> MakeGroups:
    """Return a maker of the groups, in their long or short form."""
    heavy = Picture(width=1280, height=720, bitrate_kbps=10_000, noise=60)
    footage = make_footage(tmp_path_factory.mktemp("footage") / "noise.mp4", heavy, _LOOP_S)
    low = Picture(width=320, height=180, bitrate_kbps=200)
    middle = Picture(width=640, height=360, bitrate_kbps=2000, noise=60)
    high = msgspec.structs.replace(heavy, footage=footage)

    def group(mbit: str, picture: Picture, window_s: float, card: int, *, flush_s: float, kills: int) -> Group:
        return Group(
            mbit=mbit,
            picture=picture,
            window_s=window_s,
            card_bytes_per_s=card,
            flush_s=flush_s,
            kills=kills,
            loop_frames=_LOOP_S * 30 if picture.footage else None,
        )

    def make(long: bool) -> list[Group]:
        rows = [
            (group("0.2", low, 3, 0, flush_s=0.03, kills=40), 3),
            (group("0.2", low, 3, _CARD, flush_s=0.1, kills=20), 0),
            (group("2", middle, 4, 0, flush_s=0.04, kills=40), 0),
            (group("2", middle, 4, _CARD, flush_s=0.2, kills=24), 3),
            (group("10", high, 4, 0, flush_s=0.07, kills=40), 3),
            (group("10", high, 6, _CARD, flush_s=1.0, kills=30), 3),
            (group("10", high, 30, _CARD, flush_s=6.0, kills=6), 0),
        ]
        if long:
            return [row for row, _ in rows]
        return [msgspec.structs.replace(row, kills=kills) for row, kills in rows if kills]

    return make


def _check(kills: list[Kill], groups: list[Group]) -> None:
    assert len(kills) == sum(group.kills for group in groups)
    for kill in (kill for kill in kills if kill.caught_up):
        assert kill.lost_ns is not None
        assert kill.unattested_ns is not None
        assert kill.lost_ns <= LOSS_LIMIT_NS
    assert any(kill.caught_up for kill in kills)
    assert any(kill.phase in {Phase.CLAIM, Phase.FLUSH} for kill in kills)
    assert any(kill.prft_checked for kill in kills)


def test_ten_and_more_kills(make_groups: MakeGroups, keys: Keys, tmp_path: Path) -> None:
    groups = make_groups(False)
    kills = run_campaign(groups, tmp_path, keys)
    assert len(kills) >= 10
    _check(kills, groups)


@pytest.mark.long
def test_two_hundred_kills(make_groups: MakeGroups, keys: Keys, tmp_path: Path) -> None:
    groups = make_groups(True)
    kills = run_campaign(groups, tmp_path, keys)
    assert len(kills) >= 200
    _check(kills, groups)
    write_report(ROOT / "docs" / "reports" / "kill-campaign.md", groups, kills, tmp_path)
