"""`preroll dock run`, `status`, `assign` and `release`."""

import json
import signal
import sys
import time
from pathlib import Path

import click

__all__ = ["assign", "release", "run", "status"]

_STOPS = (signal.SIGTERM, signal.SIGINT)
_NS_PER_S = 1_000_000_000

_CONFIG = click.option(
    "--config",
    "file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The dock's TOML.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print for programs.")


@click.command()
@_CONFIG
@_JSON
@click.option("--verbose", is_flag=True, help="Log more.")
def run(file: Path, *, as_json: bool, verbose: bool) -> None:
    """Run the dock until SIGTERM or SIGINT; a transfer under way goes on at the next start."""
    import importlib.util
    import threading

    from host.agent import DockAgent
    from host.config import load_config
    from host.memory import return_large_blocks
    from preroll.logs import set_up_logging
    from preroll.notify import ServiceManager
    from preroll.watchdog import Watchdog

    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)  # one that comes while it starts waits
    set_up_logging(verbose=verbose)
    return_large_blocks()
    agent = DockAgent(load_config(file))
    for number in _STOPS:
        # in a thread: the handler interrupts `run`, which may hold the lock that `stop` needs
        signal.signal(number, lambda *_: threading.Thread(target=agent.stop).start())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    done = threading.Event()
    view = None
    if as_json or (sys.stdout.isatty() and importlib.util.find_spec("rich")):
        from preroll.dock.view import follow

        bays = lambda: tuple(bay.status for bay in agent.bays)  # noqa: E731 - one expression, used once
        view = threading.Thread(target=follow, args=(bays, done), kwargs={"as_json": as_json})
        view.start()
    manager = ServiceManager()
    watchdog = Watchdog(manager, lambda: {"workers": agent.progress_ns})
    manager.tell("READY=1")
    watchdog.start()
    try:
        agent.run()
    finally:
        manager.tell("STOPPING=1")
        watchdog.close()
        done.set()
        if view is not None:
            view.join()


@click.command()
@_CONFIG
@_JSON
def status(file: Path, *, as_json: bool) -> None:
    """Store, custody log, bays, queue, quarantine, and what was announced."""
    from host.agent import socket_path
    from host.config import load_config
    from host.control import AskStatus, ask

    answer = ask(socket_path(load_config(file)), AskStatus())
    assert answer.status is not None  # that is what was asked for
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(answer.status), indent=2).decode())
        return
    from preroll.dock.lines import status_lines

    for line in status_lines(answer.status):
        click.echo(line)


@click.command()
@click.argument("camera")
@click.argument("wearer")
@_CONFIG
@click.option(
    "--hours", type=click.FloatRange(0.1, 48), default=12.0, show_default=True, help="Length of the shift."
)
@_JSON
def assign(camera: str, wearer: str, file: Path, *, hours: float, as_json: bool) -> None:
    """Assign CAMERA to WEARER, a pseudonym, from now on for a shift."""
    import msgspec

    from docklink.messages import WearerAssignment
    from evidence.clock import format_utc
    from host.agent import socket_path
    from host.config import load_config
    from host.control import AskAssign, ask

    now_ns = time.time_ns()
    end_ns = now_ns + int(hours * 3600 * _NS_PER_S)
    facts = {"wearer": wearer, "start_utc": format_utc(now_ns), "end_utc": format_utc(end_ns)}
    try:
        question = msgspec.convert(
            {"ask": "assign", "device": camera, "assignment": msgspec.convert(facts, WearerAssignment)},
            AskAssign,
        )
    except msgspec.ValidationError as error:
        raise click.UsageError(f"not a camera or a pseudonym: {error}") from error
    _say(ask(socket_path(load_config(file)), question).detail, as_json=as_json)


@click.command()
@click.argument("clip")
@_CONFIG
@click.option("--reason", required=True, help="Why, in words.")
@click.option("--operator", required=True, help="Who decides.")
@_JSON
def release(clip: str, file: Path, *, reason: str, operator: str, as_json: bool) -> None:
    """Release CLIP from quarantine: its camera gets a receipt that says `quarantined`, and may delete it."""
    import msgspec

    from host.agent import socket_path
    from host.config import load_config
    from host.control import AskRelease, ask

    facts = {"ask": "release", "clip": clip, "reason": reason, "operator": operator}
    try:
        question = msgspec.convert(facts, AskRelease)
    except msgspec.ValidationError as error:
        raise click.UsageError(f"not a clip, a reason or an operator: {error}") from error
    _say(ask(socket_path(load_config(file)), question).detail, as_json=as_json)


def _say(detail: str, *, as_json: bool) -> None:
    click.echo(json.dumps({"done": detail}) if as_json else detail)
