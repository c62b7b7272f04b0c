"""`preroll device run` and `preroll device selftest`."""

import json
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from device.config import DeviceConfig
    from device.service import ServiceParts

from preroll.exits import Exit

__all__ = ["run", "selftest"]

_STOPS = (signal.SIGTERM, signal.SIGINT)

_CONFIG = click.option(
    "--config",
    "file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The camera's TOML.",
)


@click.command()
@_CONFIG
@click.option("--verbose", is_flag=True, help="Log more.")
def run(file: Path, *, verbose: bool) -> None:
    """Run the camera until SIGTERM or SIGINT; whatever is open is sealed before it ends.

    A camera without identity cannot record: it waits to be enrolled at a dock, and goes on from there.
    """
    from device.config import load_config
    from device.service import DeviceService

    # A stop that comes while the camera starts waits until there is somebody to seal what was pressed
    # meanwhile.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    config, directory = load_config(file), file.resolve().parent
    parts = _enrol(config, directory)
    if parts is None:
        return
    service = DeviceService(config, directory, parts)
    service.stop_on_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    service.run()


def _enrol(config: "DeviceConfig", directory: Path) -> "ServiceParts | None":
    """See that there is an identity, waiting for a dock if need be; `None`: stopped before there was one."""
    from device.identity import has_identity
    from device.service import ServiceParts, gpio_factory

    if has_identity(directory / config.device.keys) or not config.dockport.enabled:
        return ServiceParts()
    from device.dockport.enrolmode import EnrolmentMode

    factory = gpio_factory()
    mode = EnrolmentMode(config, directory, factory=factory)
    mode.stop_on_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    enrolled = mode.run()
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    return ServiceParts(factory=factory) if enrolled and not mode.stopped else None


@click.command()
@_CONFIG
@click.option("--json", "as_json", is_flag=True, help="Print for programs.")
@click.pass_context
def selftest(ctx: click.Context, file: Path, *, as_json: bool) -> None:
    """Say of each part of the camera whether it works; exit 1 if one that recording needs does not."""
    from device.config import load_config
    from device.selftest import run_selftest

    findings = run_selftest(load_config(file), file.resolve().parent)
    if as_json:
        rows = [{"part": f.part, "result": str(f.result), "detail": f.detail} for f in findings]
        click.echo(json.dumps(rows, indent=2))
    else:
        for finding in findings:
            click.echo(f"{finding.part:<12} {finding.result:<8} {finding.detail}")
    failed = any(finding.fatal for finding in findings)
    ctx.exit(Exit.FAILED if failed else Exit.DONE)
