"""The camera's TOML: what is wrong is said with file, line or field, in words of the file."""

from pathlib import Path

import pytest

from device.config import ConfigError, load_config, parse_config
from device.policy import load_policy

RECIPIENT = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
GOOD = f"""\
[device]
id = "cam0042"

[camera]
source = "replay:walk.mp4"

[sound]
microphone = "replay"

[policy]
recipients = ["{RECIPIENT}"]
"""


def test_a_short_file_is_enough_and_the_rest_has_defaults() -> None:
    config = parse_config(GOOD, "device.toml")
    assert (config.device.id, str(config.source)) == ("cam0042", "replay:walk.mp4")
    policy = load_policy(config, Path()).document
    assert (policy.window_ns, policy.sound.before_press, policy.gestures.hold_ns) == (
        30_000_000_000,
        False,
        3_000_000_000,
    )
    assert policy.recipients == (RECIPIENT,)


@pytest.mark.parametrize(
    ("line", "instead", "words"),
    [
        ('id = "cam0042"', 'id = "CAM"', ["line 2", "device.id"]),
        ('id = "cam0042"', "", ["missing", "id"]),
        ('id = "cam0042"', 'id = "cam0042"\nname = "x"', ["line 3", "name"]),
        ('source = "replay:walk.mp4"', "source = 7", ["line 5", "camera.source"]),
        ('source = "replay:walk.mp4"', 'source = "replay:"', ["camera.source", "replay:FILE"]),
        ('source = "replay:walk.mp4"', 'source = "v4l2:/etc/passwd"', ["v4l2:/dev/videoN"]),
        ('source = "replay:walk.mp4"', 'source = "synthetic"', ["sound.microphone is replay", "synthetic"]),
        ('microphone = "replay"', 'microphone = "alsa:"', ["sound.microphone", "alsa:DEVICE"]),
        ("[policy]", "[policy]\nwindow_s = 121.0", ["line 11", "window_s"]),
        ("[policy]", "[policy]\nhold_s = 0.1", ["line 11", "hold_s"]),
        ("[policy]", '[policy]\nrecipients_file = "r.txt"', ["both"]),
        (f'recipients = ["{RECIPIENT}"]', "recipients = []", ["neither"]),
        ("[policy]", "[policies]", ["policies"]),
        ("[sound]", "[sound", ["not TOML", "line 7"]),
    ],
)
def test_what_is_wrong_is_said_with_its_place(line: str, instead: str, words: list[str]) -> None:
    assert GOOD.count(line) == 1
    with pytest.raises(ConfigError) as caught:
        parse_config(GOOD.replace(line, instead), "device.toml")
    said = str(caught.value)
    assert "\n" not in said
    for word in ("device.toml", *words):
        assert word in said
    assert "msgspec" not in said
    assert "$." not in said


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "binary.toml")
    with pytest.raises(ConfigError, match="directory"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "at least one recipient"),
        (b"# nobody\n\n", "at least one recipient"),
        (b"age1nonsense\n", "recipients.txt"),
        (b"\xff\n", "not text"),
    ],
)
def test_recipients_that_cannot_be_used(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "recipients.txt").write_bytes(content)
    named = GOOD.replace(f'recipients = ["{RECIPIENT}"]', 'recipients_file = "recipients.txt"')
    with pytest.raises(ConfigError) as caught:
        load_policy(parse_config(named, "device.toml"), tmp_path)
    assert words in str(caught.value)


def test_a_secret_put_where_recipients_belong_is_not_repeated(tmp_path: Path) -> None:
    secret = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
    (tmp_path / "recipients.txt").write_text(secret + "\n", encoding="ascii")
    named = GOOD.replace(f'recipients = ["{RECIPIENT}"]', 'recipients_file = "recipients.txt"')
    with pytest.raises(ConfigError) as caught:
        load_policy(parse_config(named, "device.toml"), tmp_path)
    assert "1GFPYYSJ" not in str(caught.value)
