"""`preroll dock watch`: a site seen through MQTT alone."""

import contextlib
import secrets
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from host.publish import BrokerSettings

__all__ = ["watch"]

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command()
@click.option("--broker", required=True, metavar="URL", help="mqtts://HOST[:PORT], or mqtt:// without TLS.")
@click.option("--site", required=True, help="The site, as the docks' configurations name it.")
@click.option("--prefix", default="preroll", show_default=True, help="What all topics begin with.")
@click.option("--ca", type=_FILE, help="Who certifies the broker (PEM); without it the system's list.")
@click.option("--certificate", type=_FILE, help="A certificate of ours (PEM), with --key.")
@click.option("--key", type=_FILE, help="Its private key.")
@click.option("--user", help="A name, with --password-file.")
@click.option("--password-file", type=_FILE, help="The password, in a file.")
@click.option(
    "--protocol", type=click.Choice(["5", "3.1.1"]), default="5", show_default=True, help="Version of MQTT."
)
@click.option("--replay/--no-replay", default=True, show_default=True, help="Ask for events that were missed.")
@click.option("--once", is_flag=True, help="Print the picture and end.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0.1, 600),
    default=10.0,
    show_default=True,
    help="Seconds that --once waits for the broker to answer, and to fall silent.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: a line a change, or the picture.")
def watch(
    *,
    broker: str,
    site: str,
    prefix: str,
    ca: Path | None,
    certificate: Path | None,
    key: Path | None,
    user: str | None,
    password_file: Path | None,
    protocol: str,
    replay: bool,
    once: bool,
    wait_s: float,
    as_json: bool,
) -> None:
    """Watch a site through MQTT alone: docks, bays, cameras, what moves, and what is wrong.

    The first connection has to succeed; one that breaks later is made again, for as long as it takes. A dock's
    events have no gaps in their numbers: what is missing is shown, and the dock is asked for it, where the
    broker lets this user. Ctrl-C ends it.
    """
    from host.watch import Feed, empty_site
    from preroll.dock.watching import Seen, follow, once_only

    named = {"ca": ca, "certificate": certificate, "key": key, "password_file": password_file}
    files = {name: str(path) for name, path in named.items() if path is not None}
    given = {"broker": broker, "site": site, "prefix": prefix, "protocol": protocol, "user": user, **files}
    settings = _settings({name: value for name, value in given.items() if value is not None})
    with contextlib.closing(Feed(settings, (f"{prefix}/{site}/#",))) as feed:
        seen = Seen(feed, empty_site(prefix, site), broker, replay=replay)
        if once:
            once_only(seen, wait_s, as_json=as_json)
            return
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):  # that is how watching ends
            follow(seen, as_json=as_json)


def _settings(given: dict[str, str]) -> "BrokerSettings":
    """Hold what was given against the rules of a dock's `[mqtt]`: they are the same."""
    from host.mqttsection import MqttSection
    from host.publish import PublishError, settings_of

    try:
        section = msgspec.convert(given, MqttSection)
        problem = section.problem()
        settings = settings_of(section, "watch")
    except (msgspec.ValidationError, PublishError) as error:
        raise click.UsageError(_readable(str(error))) from error
    if problem is not None:
        key, expected, found = problem
        raise click.UsageError(f"--{key.replace('_', '-')}: expected {expected}, found {found}")
    return msgspec.structs.replace(settings, client_id=f"preroll-watch-{secrets.token_hex(6)}")


def _readable(error: str) -> str:
    """Name the option instead of a field and a pattern."""
    for name in ("broker", "site", "prefix", "user"):
        if f"$.{name}`" in error:
            form = {"broker": "mqtts://HOST[:PORT] or mqtt://HOST[:PORT]", "user": "1 to 256 characters"}
            return f"--{name}: expected {form.get(name, 'letters, digits, dot, underscore and hyphen')}"
    return error
