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
    """Say what is wrong with the configuration FILE, a camera's or a dock's; exit 0 if nothing is, 2 if not."""
    from evidence.errors import ExplainedError

    try:
        facts = _check_dock(file) if _is_docks(file) else _check_device(file)
    except ExplainedError as error:
        if not as_json:
            raise
        click.echo(json.dumps({"file": str(file), "good": False, "error": str(error)}))
        ctx.exit(Exit.USAGE)
    if as_json:
        click.echo(json.dumps({"file": str(file), "good": True} | facts))
    else:
        click.echo(f"{file}: good; {', '.join(f'{name} {fact}' for name, fact in facts.items())}")


def _is_docks(file: Path) -> bool:
    """Whether the file means to be a dock's: what cannot be read is told by whoever reads it."""
    import re

    from device.config import ConfigError
    from evidence.toml import read_toml

    return bool(re.search(r"^\s*\[{1,2}\s*(dock|store|bay)\s*\]", read_toml(file, ConfigError), re.MULTILINE))


def _check_device(file: Path) -> dict[str, str]:
    from device.config import load_config
    from device.identity import has_identity, identified
    from device.policy import load_policy

    config = load_config(file)
    keys = file.parent / config.device.keys
    if has_identity(keys):
        config = identified(config, keys)
    elif not (config.policy.recipients or config.policy.recipients_file):
        # As it comes: nobody named, and a dock's port, without which `load_config` would have refused it.
        waits = "none yet: it records nothing until a dock has enrolled it (`preroll dock enrol`)"
        return {"device": config.device.id or "unnamed", "source": config.camera.source, "identity": waits}
    load_policy(config, file.parent)
    return {"device": config.device.id, "source": config.camera.source}


def _check_dock(file: Path) -> dict[str, str]:
    from host.config import load_config

    config = load_config(file)
    return {"dock": config.dock.id, "store": config.store.id}
