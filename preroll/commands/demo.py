"""`preroll demo`: camera and dock on one machine, from the press to the stored and opened clip."""

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from preroll.exits import Exit

if TYPE_CHECKING:
    from preroll.demo.acts import Playbill
    from preroll.demo.run import DemoResult

__all__ = ["command"]

_SOURCES = "picamera, synthetic, replay:FILE or v4l2:/dev/videoN"


@click.command()
@click.option("--camera", default="synthetic", show_default=True, metavar="SOURCE", help=_SOURCES)
@click.option(
    "--preroll", default=30.0, show_default=True, type=click.FloatRange(0, 120), help="Seconds before."
)
@click.option(
    "--seconds",
    default=10.0,
    show_default=True,
    type=click.FloatRange(3.5, 3600),
    help="Seconds after the press.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keeps keys, vault and store; that of an earlier demo is gone on with (default: a new temporary one).",
)
@click.option(
    "--patience",
    default=120.0,
    show_default=True,
    type=click.FloatRange(1, 86_400),
    help="Seconds without any progress after which it gives up.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result for programs; no live view.")
@click.pass_context
def command(
    ctx: click.Context,
    *,
    camera: str,
    preroll: float,
    seconds: float,
    directory: Path | None,
    patience: float,
    as_json: bool,
) -> None:
    """Film, press, stop, dock, prove and open one clip, on this machine and without root.

    The camera's firmware and the dock's agent run as they would on their boards; the camera's pins are
    gpiozero's mock pins, the dock's serial line is a pair of pseudo-terminals. The dock publishes to an MQTT
    broker of the demo's own, on a free port of loopback: mosquitto where it is installed, else amqtt. What
    subscribers get is shown. On a terminal the space bar is
    the button; elsewhere it is pressed as soon as the ring holds the seconds asked for.

    Exit 0 only if the clip is in the store, authentic by every check, released by the camera against the
    dock's receipt, and decodes, and a live and a late subscriber got the truth. Ctrl-C ends it in good order;
    a clip that was not docked yet is taken by the next demo in the same DIR.
    """
    from preroll.demo.acts import Playbill
    from preroll.demo.interrupts import one_interrupt

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("device.health").setLevel(logging.ERROR)  # a bench's clock and battery are no camera's
    place = (directory or Path(tempfile.mkdtemp(prefix="preroll-demo-"))).resolve()
    playbill = Playbill()
    try:
        with one_interrupt():
            result = _play(place, playbill, camera, (preroll, seconds, patience), as_json=as_json)
    except KeyboardInterrupt as error:
        raise _interrupted(playbill, place) from error
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(result, enc_hook=str), indent=2))
    else:
        from preroll.demo.report import report_lines

        for line in report_lines(result, place):
            click.echo(line)
    ctx.exit(Exit.DONE if result.good else Exit.FAILED)


def _play(
    place: Path, playbill: "Playbill", camera: str, times: tuple[float, float, float], *, as_json: bool
) -> "DemoResult":
    from preroll.demo.keyboard import SpaceBar
    from preroll.demo.run import run_demo
    from preroll.demo.stage import set_stage
    from preroll.demo.view import LinesView, MuteView, View, open_view

    preroll_s, record_s, patience_s = times
    place.mkdir(parents=True, exist_ok=True)
    stage = set_stage(place, camera, preroll_s)
    bar = SpaceBar() if SpaceBar.available() and not as_json else None
    try:
        view: View = MuteView() if as_json else (open_view() if bar else LinesView())
        return run_demo(stage, record_s=record_s, view=view, playbill=playbill, bar=bar, patience_s=patience_s)
    finally:
        if bar:
            bar.close()


def _interrupted(playbill: "Playbill", place: Path) -> Exception:
    from preroll.demo.errors import DemoInterruptedError

    where = f"in the middle of `{playbill.current}`" if playbill.current else "before it began"
    ahead = ", ".join(act for act in playbill.open_acts if act is not playbill.current)
    return DemoInterruptedError(
        f"interrupted {where}; not reached: {ahead or 'the end'}",
        remedy=f"what there is, is in {place}; `--dir {place}` goes on with it",
    )
