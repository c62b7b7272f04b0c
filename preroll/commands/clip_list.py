"""`preroll clip list`: the clips of a vault or store, as they lie there."""

import json
from pathlib import Path

import click

__all__ = ["command"]

_MIB = 1024 * 1024


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print for programs.")
def command(directory: Path, *, as_json: bool) -> None:
    """List the clips of the vault or store whose root is DIR. Nothing is verified here."""
    from device.vault.vault import list_clips

    clips = list(list_clips(directory))
    if as_json:
        rows = [{"clip": clip.name, "state": clip.state, "bytes": clip.bytes} for clip in clips]
        click.echo(json.dumps(rows, indent=2))
        return
    for clip in clips:
        click.echo(f"{clip.name:<52} {clip.state:<10} {clip.bytes / _MIB:9.1f} MiB")
    click.echo(f"{len(clips)} clip{'' if len(clips) == 1 else 's'}")
