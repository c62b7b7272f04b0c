"""`preroll device run`, `preroll device lights` and `preroll device selftest`."""

import json
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from device.config import DeviceConfig
    from device.service import ServiceParts
    from preroll.notify import ServiceManager

from preroll.exits import Exit

__all__ = ["lights", "run", "selftest"]

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
    from preroll.logs import set_up_logging
    from preroll.notify import ServiceManager
    from preroll.watchdog import Watchdog

    # A stop that comes while the camera starts waits until there is somebody to seal what was pressed
    # meanwhile.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    set_up_logging(verbose=verbose)
    config, directory = load_config(file), file.resolve().parent
    trouble = _guard_memory()
    manager = ServiceManager()
    parts = _enrol(config, directory, manager)
    if parts is None:
        logging.getLogger(__name__).warning("ends as told, before it was enrolled")
        return
    service = DeviceService(config, directory, msgspec.structs.replace(parts, memory_trouble=trouble))
    service.stop_on_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    watchdog = Watchdog(manager, service.progress)
    manager.tell("READY=1", f"STATUS=camera {service.config.device.id}")
    watchdog.start()
    try:
        service.run()
    finally:
        manager.tell("STOPPING=1")
        watchdog.close()
    logging.getLogger(__name__).warning("ends as told: %s", service.stopped_by)  # there is no other orderly end


def _guard_memory() -> str:
    """Lock memory and forbid core dumps before there is a frame; what could not be done, in one line."""
    from device.health.memory import guard_memory

    guard = guard_memory()
    if not guard.good:
        logging.getLogger(__name__).error("memory: %s", guard.reason)
    return guard.reason


@click.command()
@click.argument("show", type=click.Choice(["fault", "off"]))
@_CONFIG
def lights(show: str, file: Path) -> None:
    """Set the lights to steady amber (`fault`) or off, and leave them so: for while no firmware runs."""
    from device.config import load_config
    from device.controls.outputs import GpioOutputs, set_levels
    from device.controls.patterns import FAULT_LEVELS
    from device.service import gpio_factory

    outputs = GpioOutputs(gpio_factory(), load_config(file).controls.lights)
    set_levels(outputs, FAULT_LEVELS if show == "fault" else ())
    # A pin keeps its level when its owner dies; an orderly end of the interpreter would make it an input.
    os._exit(Exit.DONE)


def _enrol(config: "DeviceConfig", directory: Path, manager: "ServiceManager") -> "ServiceParts | None":
    """See that there is an identity, waiting for a dock if need be; `None`: stopped before there was one."""
    from device.identity import has_identity
    from device.service import ServiceParts, gpio_factory

    if has_identity(directory / config.device.keys) or not config.dockport.enabled:
        return ServiceParts()
    from device.dockport.enrolmode import EnrolmentMode
    from preroll.watchdog import Watchdog

    factory = gpio_factory()
    mode = EnrolmentMode(config, directory, factory=factory)
    mode.stop_on_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    watchdog = Watchdog(manager, lambda: {"controls": mode.panel.last_turn_ns})
    manager.tell("READY=1", "STATUS=belongs to nobody; waits to be enrolled")
    watchdog.start()
    try:
        enrolled = mode.run()
    finally:
        watchdog.close()
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
