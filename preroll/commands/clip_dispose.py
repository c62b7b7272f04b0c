"""`preroll clip dispose`: lawful deletion from a store; the signed record is written first."""

import json
import time
from pathlib import Path

import click

__all__ = ["command"]


@click.command(name="dispose", short_help="Lawful deletion from a store.")
@click.argument("clip", metavar="CLIP", type=click.Path(path_type=Path))
@click.option("--reason", required=True, metavar="R", help="Why, in words; it stands in the record.")
@click.option(
    "--signer",
    "signer_dir",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Keys of a custodian, as `preroll keys issue custodian` makes them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print for programs.")
def command(clip: Path, reason: str, signer_dir: Path, *, as_json: bool) -> None:
    """Delete CLIP, a clip's directory in a store, and leave a record that a custodian signed.

    The record is on storage before the first byte goes. Interrupted, the same command again goes on.
    """
    from evidence.dispose import dispose
    from evidence.roles import Role
    from evidence.signer import load_signer

    signer = load_signer(signer_dir, Role.CUSTODIAN)
    done = dispose(clip, reason, signer, time.time_ns())
    if as_json:
        row = {"clip": done.record.clip, "document": str(done.document), "signature": str(done.signature)}
        click.echo(json.dumps({**row, "operator": done.record.operator, "utc": done.record.utc}, indent=2))
        return
    click.echo(f"{done.record.clip} is deleted; the record by {done.record.operator} is {done.document}")
