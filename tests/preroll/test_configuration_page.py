"""The reference page has every key, says something of each, and is up to date; the examples load."""

from pathlib import Path

import pytest

from device.config import load_config as load_device
from host.config import load_config as load_dock
from preroll.configpage import config_keys, configuration_page, meanings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("file", ["device", "dock"])
def test_every_key_is_explained_and_nothing_else_is(file: str) -> None:
    keys = [key.name for key in config_keys(file)]
    said = meanings()[file]
    assert sorted(keys) == sorted(said), "preroll/configkeys.toml has a line for every key of the types"
    assert all(meaning.strip() for meaning in said.values())


def test_the_page_is_up_to_date() -> None:
    assert (DOCS / "configuration.md").read_text(encoding="utf-8") == configuration_page(), "run `make docs`"


def test_ranges_units_and_defaults_come_from_the_types() -> None:
    page = configuration_page()
    assert (
        "| `window_s` | How much from before the press is in a clip. | number, seconds, ≥ 0, ≤ 120 | `30.0` |"
        in page
    )
    assert "### `[[bay]]`" in page


def test_the_examples_load() -> None:
    assert load_device(DOCS / "examples" / "device.toml").device.id == "cam0042"
    assert len(load_dock(DOCS / "examples" / "dock.toml").bay) == 2
