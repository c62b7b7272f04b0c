"""`preroll config check`: what is wrong with a configuration, with line or field."""

import json
from pathlib import Path

import click

from preroll.exits import Exit

__all__ = ["check"]


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print for programs.")
@click.pass_context
def check(ctx: click.Context, file: Path, *, as_json: bool) -> None:
    """Say what is wrong with the configuration FILE; exit 0 if nothing is, 2 if something is."""
    from device.config import ConfigError, load_config
    from device.policy import load_policy

    try:
        config = load_config(file)
        load_policy(config, file.parent)
    except ConfigError as error:
        if not as_json:
            raise
        click.echo(json.dumps({"file": str(file), "good": False, "error": str(error)}))
        ctx.exit(Exit.USAGE)
    if as_json:
        click.echo(json.dumps({"file": str(file), "good": True, "device": config.device.id}))
    else:
        click.echo(f"{file}: good; camera {config.device.id}, source {config.camera.source}")
