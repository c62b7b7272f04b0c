"""`preroll dock custody`: a store's custody log, held against checkpoints that somebody else kept."""

import json
from pathlib import Path

import click

from preroll.exits import Exit

__all__ = ["custody"]

_DIRECTORY = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command(short_help="The custody log against checkpoints kept elsewhere.")
@click.argument("store", type=_DIRECTORY)
@click.option(
    "--ca",
    "ca_file",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The agency's root/root.pem.",
)
@click.option(
    "--checkpoints",
    "kept",
    multiple=True,
    required=True,
    metavar="DIR",
    type=_DIRECTORY,
    help="Checkpoints that you kept out of reach of who keeps the store. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print for programs.")
@click.pass_context
def custody(
    context: click.Context, *, store: Path, ca_file: Path, kept: tuple[Path, ...], as_json: bool
) -> None:
    """Verify the custody log of STORE from its first entry to its last, and hold it against checkpoints.

    \b
    Exit status: 0 the log is the one that the checkpoints were made of; 3 an entry was altered, or the log was
    rewritten or cut short; 5 there is no checkpoint in DIR; 1 it failed; 2 wrong usage.
    """  # noqa: D301 -- \b is click's mark for lines that keep their breaks
    from evidence.holdings import load_store
    from evidence.paths import load_roots
    from host.custody import CustodyError, read_checkpoints, verify_custody

    roots, name = load_roots(ca_file), load_store(store).store
    try:
        checkpoints = [each for place in kept for each in read_checkpoints(place, roots, name)]
        report = verify_custody(store / "custody.jsonl", name, checkpoints)
    except CustodyError as error:
        _say({"store": name, "good": False, "reason": str(error)}, str(error), as_json=as_json)
        context.exit(Exit.NOT_AUTHENTIC)
    entries = report.head.entries if report.head else 0
    facts = {"store": name, "good": True, "entries": entries, "checkpoints": len(checkpoints)}
    if not checkpoints:
        where = ", ".join(str(place) for place in kept)
        _say(facts | {"good": False}, f"no checkpoint in {where}: nothing to hold it against", as_json=as_json)
        context.exit(Exit.CANNOT_TELL)
    covered = max(each.entries for each in checkpoints)
    text = f"{name}: {entries} entries, whole; {len(checkpoints)} checkpoints agree, the last at {covered}"
    _say(facts | {"covered": covered, "torn_bytes": report.torn_bytes}, text, as_json=as_json)


def _say(facts: dict[str, object], text: str, *, as_json: bool) -> None:
    click.echo(json.dumps(facts) if as_json else text)
