"""docs/configuration.md: every key of both TOML files, with type, range and default read from the types.

What a key means stands in `configkeys.toml` beside this module; a test sees to it that each key has a line
there, and no line is left over.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from device.config import DeviceConfig
from host.config import DockConfig

__all__ = ["config_keys", "configuration_page", "meanings"]

_FILES: dict[str, type[msgspec.Struct]] = {"device": DeviceConfig, "dock": DockConfig}
_UNITS = {
    "_s": "seconds",
    "_ms": "milliseconds",
    "_mib": "MiB",
    "_kbps": "kbit/s",
    "_minutes": "minutes",
    "_hours": "hours",
    "_percent": "percent",
    "_c": "°C",
    "_dbfs": "dBFS",
}
_HEAD = """# Configuration

Written by `scripts/generate-docs` from the types that read the files; do not edit. The camera's file is
`/etc/preroll/device.toml`, the dock's `/etc/preroll/dock.toml`; both are TOML and strict: an unknown key, a
wrong type or value, or keys that contradict each other end the start with one line that names file, line, key,
what was expected and what was found, and with exit status 2. `preroll config check FILE` says the same without
starting anything. Defaults are what a trust would choose; [examples/device.toml](examples/device.toml) and
[examples/dock.toml](examples/dock.toml) are whole files.

Nothing is taken from the environment but `GPIOZERO_PIN_FACTORY` (which pins), `NOTIFY_SOCKET`, `WATCHDOG_USEC`
and `JOURNAL_STREAM` (systemd's own). Relative paths start at the directory of the file.
"""

_COLUMNS = "| key | meaning | type | default |\n|---|---|---|---|\n"


class Key(msgspec.Struct, frozen=True):
    """One key: its full name, and what the types say about it."""

    name: str
    kind: str
    bounds: str
    default: str

    @property
    def unit(self) -> str:
        """The unit that the end of the name stands for, or nothing."""
        return next((unit for ending, unit in _UNITS.items() if self.name.endswith(ending)), "")


def meanings() -> dict[str, dict[str, str]]:
    """Return what each key means, by file and full name."""
    return tomllib.loads(Path(__file__).with_name("configkeys.toml").read_text(encoding="utf-8"))


def config_keys(file: str) -> list[Key]:
    """Return every key of the `device` or `dock` file, in the order of the types."""
    return list(_walk(inspect.type_info(_FILES[file]), ""))


def configuration_page() -> str:
    """Return the text of docs/configuration.md."""
    parts = [_HEAD]
    for file in _FILES:
        said = meanings()[file]
        parts.append(f"\n## {file}.toml\n")
        table = None
        for key in config_keys(file):
            prefix, _, name = key.name.rpartition(".")
            if prefix != table:
                table = prefix
                parts.append(f"\n### `{_header(prefix)}`\n\n{_COLUMNS}")
            unit = f", {key.unit}" if key.unit else ""
            bounds = f", {key.bounds}" if key.bounds else ""
            cells = (f"`{name}`", said.get(key.name, ""), f"{key.kind}{unit}{bounds}", key.default)
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts).rstrip() + "\n"


def _walk(kind: Any, prefix: str) -> Iterator[Key]:
    for field in kind.fields:
        name = f"{prefix}{field.encode_name}"
        inner, many = _inner(field.type)
        if isinstance(inner, inspect.StructType):
            yield from _walk(inner, f"{name}[]." if many else f"{name}.")
        else:
            kind_name, bounds = _type(field.type)
            yield Key(name, kind_name, bounds, _default(field))


def _inner(kind: Any) -> tuple[Any, bool]:
    """Look through `| None` and lists."""
    if isinstance(kind, inspect.UnionType):
        kind = next(each for each in kind.types if not isinstance(each, inspect.NoneType))
    if isinstance(kind, inspect.VarTupleType):
        return _inner(kind.item_type)[0], True
    return kind, False


def _header(prefix: str) -> str:
    return f"[[{prefix.removesuffix('[]')}]]" if prefix.endswith("[]") else f"[{prefix}]"


def _type(kind: Any) -> tuple[str, str]:
    inner, many = _inner(kind)
    name = "list of texts" if many else _name(inner)
    return name, _bounds(inner)


def _name(kind: Any) -> str:
    if isinstance(kind, inspect.LiteralType):
        return " or ".join(f"`{value}`" if isinstance(value, int) else f'`"{value}"`' for value in kind.values)
    names = {"IntType": "whole number", "FloatType": "number", "StrType": "text", "BoolType": "true or false"}
    return names.get(type(kind).__name__, "table")


def _bounds(kind: Any) -> str:
    parts = []
    for attribute, words in (("ge", "≥ {}"), ("gt", "> {}"), ("le", "≤ {}"), ("lt", "< {}")):
        value = getattr(kind, attribute, None)
        if value is not None:
            parts.append(words.format(f"{value:,}" if isinstance(value, int) else f"{value:,g}"))
    pattern = getattr(kind, "pattern", None)
    if pattern:
        parts.append(f"of the form `{_bare(pattern)}`")
    return ", ".join(parts)


def _bare(pattern: str) -> str:
    return pattern.removeprefix(r"\A").removesuffix(r"\Z").removeprefix("^").removesuffix("$")


def _default(field: Any) -> str:
    default = field.default
    if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    if default is msgspec.NODEFAULT:
        return "**needed**"
    if default is None or default in ("", (), {}):
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default}`"
