"""`preroll config sign`: a configuration for cameras, checked and signed by who has the config key."""

import json
from pathlib import Path

import click

__all__ = ["sign"]

_LIMIT_BYTES = 1 << 20


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--signer",
    "keys",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where config.key and config.pem are.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUTPUT",
    help="NAME.json; the signature goes to NAME.p7s beside it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print for programs.")
def sign(file: Path, *, keys: Path, output: Path, as_json: bool) -> None:
    """Check FILE, a configuration for cameras in any JSON spelling, and write it signed, as docks take it.

    Its fields are those of `preroll-config-v1` (docs/formats.md). What a camera would refuse is refused here.
    """
    import msgspec

    from evidence.cms import sign_cms
    from evidence.documents import Config, encode
    from evidence.errors import EvidenceError
    from evidence.paths import leaf_identity
    from evidence.policies import check_config
    from evidence.roles import Role
    from evidence.signer import load_signer
    from evidence.storage import publish_file

    if output.suffix != ".json":
        raise click.UsageError("OUTPUT has to end in .json")
    with file.open("rb") as source:
        data = source.read(_LIMIT_BYTES)
    try:
        document = encode(msgspec.json.decode(data, type=Config))
        checked = check_config(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, EvidenceError) as error:
        raise click.UsageError(
            f"{file}: no configuration for cameras: {ascii(str(error)[:300])[1:-1]}"
        ) from error
    signer = load_signer(keys, Role.CONFIG)
    by = leaf_identity(signer.chain[0], Role.CONFIG)
    publish_file(output.with_suffix(".p7s"), sign_cms(document, signer))
    publish_file(output, document)
    facts = {
        "document": str(output),
        "signature": str(output.with_suffix(".p7s")),
        "version": checked.document.version,
        "devices": list(checked.document.devices),
        "signer": by,
    }
    if as_json:
        click.echo(json.dumps(facts))
        return
    click.echo(
        f"version {checked.document.version} for {len(checked.document.devices)} cameras, signed by {by}"
    )
    click.echo(f"  {output}\tand its .p7s: copy both into the docks' configuration directory")
