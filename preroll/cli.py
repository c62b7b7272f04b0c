"""`preroll`: the one command. Each subcommand's module is imported when it is called, not before."""

import importlib
import signal
import sys

import click

from evidence.errors import ExplainedError
from preroll.exits import Exit

__all__ = ["main", "root"]

_USAGE_ERRORS = frozenset({"ConfigError"})
_FILTERS = frozenset({"clip", "config", "keys"})
"""Commands that end quietly, by SIGPIPE, when nobody reads them any more. The others write to sockets: a dock,
a camera or a broker that hangs up must not end them, with a signal that systemd even takes for success."""


class LazyGroup(click.Group):
    """A group whose commands are `module:attribute`, imported on demand, with their one-line help at hand."""

    def __init__(self, name: str, commands: dict[str, tuple[str, str]], summary: str) -> None:
        super().__init__(name, help=summary, no_args_is_help=True)
        self._targets = commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, in the order in which people need them."""
        del ctx
        return list(self._targets)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command that is asked for."""
        del ctx
        target = self._targets.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target[0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # the table below names commands only
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, target[1]) for name, target in self._targets.items()])


_DEVICE = LazyGroup(
    "device",
    {
        "run": ("preroll.commands.device:run", "The firmware service."),
        "lights": ("preroll.commands.device:lights", "Lights to fault or off, while no firmware runs."),
        "selftest": ("preroll.commands.device:selftest", "What of the camera works, part by part."),
    },
    "The camera.",
)
_DOCK = LazyGroup(
    "dock",
    {
        "run": ("preroll.commands.dock:run", "The dock agent."),
        "status": ("preroll.commands.dock:status", "Bays, quarantine, store."),
        "watch": ("preroll.commands.dock_watch:watch", "A site, seen through MQTT alone."),
        "assign": ("preroll.commands.dock:assign", "A camera to a wearer, for a shift."),
        "enrol": ("preroll.commands.dock_enrol:enrol", "A new camera."),
        "release": ("preroll.commands.dock:release", "A clip out of quarantine."),
        "custody": ("preroll.commands.dock_custody:custody", "The custody log against checkpoints."),
    },
    "The dock.",
)
_CLIP = LazyGroup(
    "clip",
    {
        "list": ("preroll.commands.clip_list:command", "Clips of a vault or store."),
        "verify": ("preroll.commands.clip_verify:command", "Whether clips are authentic and complete."),
        "decrypt": ("preroll.commands.clip_decrypt:command", "Decrypt any age v1 file."),
        "export": ("preroll.commands.clip_export:command", "Footage that plays, with a report."),
        "handover": ("preroll.commands.clip_handover:command", "The same clip for another agency."),
        "dispose": ("preroll.commands.clip_dispose:command", "Lawful deletion from a store."),
    },
    "Clips.",
)
_CONFIG = LazyGroup(
    "config",
    {
        "check": ("preroll.commands.config:check", "Say what is wrong with a configuration."),
        "sign": ("preroll.commands.config_sign:sign", "Check and sign a configuration for cameras."),
    },
    "Configuration.",
)

root = LazyGroup(
    "preroll",
    {
        "demo": ("preroll.commands.demo:command", "Camera and dock on one machine, from press to opened clip."),
        "device": ("preroll.cli:_DEVICE", "The camera: run, selftest."),
        "dock": ("preroll.cli:_DOCK", "The dock: run, status, watch, assign, enrol, release, custody."),
        "keys": ("preroll.commands.keys:command", "Agencies, keys and certificates."),
        "clip": ("preroll.cli:_CLIP", "Clips: list, verify, decrypt, dispose."),
        "config": ("preroll.cli:_CONFIG", "Check a configuration, or sign one."),
    },
    "Preroll, an open body-worn camera: the seconds before the press, encrypted, signed and provable.",
)


def main() -> None:
    """Run a command; an error of ours is one line on standard error and the status that belongs to it."""
    if sys.argv[1:2] and sys.argv[1] in _FILTERS:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `preroll clip list | head` ends quietly
    try:
        status = root.main(standalone_mode=False)
    except click.exceptions.Abort:
        _fail("interrupted", Exit.FAILED)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.USAGE)
    except ExplainedError as error:
        usage = type(error).__name__ in _USAGE_ERRORS
        _fail(str(error), getattr(error, "exit_status", Exit.USAGE if usage else Exit.FAILED))
    except OSError as error:
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", Exit.FAILED)
    sys.exit(status if isinstance(status, int) else Exit.DONE)


def _fail(line: str, status: int) -> None:
    print(f"preroll: {' '.join(line.split())}", file=sys.stderr)  # noqa: T201  # this is the command line
    sys.exit(status)
