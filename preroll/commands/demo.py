"""`preroll demo`: the camera on one machine, from the press to the opened clip."""

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from preroll.exits import Exit

if TYPE_CHECKING:
    from preroll.demo.run import DemoResult
    from preroll.demo.stage import Stage

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
    help="Keeps keys, vault and store (default: a new directory among the temporary ones).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result for programs; no live view.")
@click.pass_context
def command(
    ctx: click.Context, camera: str, preroll: float, seconds: float, directory: Path | None, *, as_json: bool
) -> None:
    """Film, press, stop, prove and open one clip, on this machine and without root.

    The camera's firmware runs as it would on the board; its pins are gpiozero's mock pins. On a terminal the
    space bar is the button; elsewhere it is pressed as soon as the ring holds the seconds asked for. Exit 0
    only if the clip is sealed, authentic and decodes.
    """
    from preroll.demo.keyboard import SpaceBar
    from preroll.demo.run import run_demo
    from preroll.demo.stage import set_stage
    from preroll.demo.view import LinesView, open_view

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    place = directory or Path(tempfile.mkdtemp(prefix="preroll-demo-"))
    place.mkdir(parents=True, exist_ok=True)
    stage = set_stage(place.resolve(), camera, preroll)
    bar = SpaceBar() if SpaceBar.available() and not as_json else None
    view = _Mute() if as_json else (open_view() if bar else LinesView())
    try:
        result = run_demo(stage, record_s=seconds, view=view, bar=bar)
    finally:
        if bar:
            bar.close()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(result, enc_hook=str), indent=2))
    else:
        _tell(result, stage)
    good = result.authentic and result.decodes
    ctx.exit(Exit.DONE if good else Exit.FAILED)


class _Mute:
    """A view for nobody."""

    def show(self, scene: object) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing to leave."""


def _tell(result: "DemoResult", stage: "Stage") -> None:
    from preroll.demo.proof import instructions

    manifest, opened = result.manifest, result.opened
    click.echo(f"\nclip       {result.clip.name}")
    click.echo(f"trigger    {manifest.start.trigger.source}; ended: {manifest.ended}")
    short = f", short because {manifest.preevent.shortfall}" if manifest.preevent.shortfall else ""
    requested_s = manifest.preevent.requested_ns / 1e9
    click.echo(f"before     {opened.delivered_s:.3f} s of {requested_s:.0f} s asked for{short}")
    click.echo(f"picture    {opened.frames} frames decode, {opened.duration_s:.3f} s")
    click.echo(f"gaps       {len(manifest.gaps)}")
    click.echo(f"sound      {opened.sound_frames} frames, silent: {_silences(result)}")
    assert manifest.ciphertext is not None  # a clip without one does not decode
    click.echo(f"encrypted  {manifest.ciphertext.bytes:,} bytes, sha256 {manifest.ciphertext.sha256}")
    for name, outcome, detail in result.checks:
        click.echo(f"check      {name}: {outcome}; {detail}")
    for defect in opened.defects:
        click.echo(f"DEFECT     {defect}")
    click.echo("not yet: offload")
    click.echo(f"\nall of it is in {stage.directory}; the opened clip is {result.output}")
    lines = instructions(result.clip, stage.root, stage.identity)
    if lines:
        click.echo("the same without Preroll:")
        for line in lines:
            click.echo(f"    {line}")


def _silences(result: "DemoResult") -> str:
    spans = [f"{(span.end_ns - span.start_ns) / 1e9:.1f} s ({span.cause})" for span in result.manifest.silences]
    return ", ".join(spans) or "nowhere"
