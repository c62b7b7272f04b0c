"""A TOML file held against a type: every error says file, line, key, what was expected and what was found.

What may be a secret is described and not quoted.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from evidence.errors import ExplainedError

__all__ = ["convert_toml", "place_of", "read_toml"]

_T = TypeVar("_T")
_Path = tuple[str | int, ...]
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"))*)\s*=")
_TOKEN = re.compile(r"\.?([A-Za-z0-9_-]+)|\[(\d+)\]|\[\.\.\.\]")
_SECRET = re.compile(r"password|secret|token|recipients|key", re.IGNORECASE)
_LONGEST = 60
_NOWHERE: Any = object()


def read_toml(path: Path, error: type[ExplainedError]) -> str:
    """Read a configuration file.

    Raises:
        ExplainedError: (as `error`) it cannot be read, or is not text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as problem:
        raise error(
            f"cannot read the configuration {path}",
            expected="a readable file",
            found=problem.strerror or "",
            remedy="name a readable file",
        ) from problem
    except UnicodeDecodeError as problem:
        raise error(f"{path}: not text", expected="UTF-8", found=f"byte {problem.start}") from problem


def convert_toml(text: str, kind: type[_T], name: str, error: type[ExplainedError]) -> _T:
    """Hold the text of a file against a type; `name` is what errors call the file.

    Raises:
        ExplainedError: (as `error`) it is not TOML, or a key is unknown, missing or wrong.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise error(f"{name}: not TOML", expected="TOML 1.0", found=str(problem)) from problem
    except RecursionError as problem:
        raise error(f"{name}: not TOML that can be read", found="values nested too deeply") from problem
    except ValueError as problem:  # of Python itself, about an integer of thousands of digits
        raise error(f"{name}: not TOML that can be read", found=str(problem)) from problem
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as problem:
        what, expected, found = _explain(str(problem), data, text, name)
        raise error(what, expected=expected, found=found) from problem


def place_of(text: str, name: str, *path: str | int) -> str:
    """Return `FILE, line N: KEY` for a key, or with the line of the table around it if it is not there."""
    lines = _lines(text)
    key = ".".join(str(part) for part in path if isinstance(part, str))
    for length in range(len(path), 0, -1):
        if tuple(path[:length]) in lines:
            return f"{name}, line {lines[tuple(path[:length])]}: {key}"
    return f"{name}: {key}" if key else name


def _explain(message: str, data: Mapping[str, Any], text: str, name: str) -> tuple[str, str, str]:
    """Say msgspec's sentence as place, expected and found, in words of the file."""
    sentence, _, where = message.partition(" - at ")
    path: _Path = tuple(
        int(match[2]) if match[2] else match[1]
        for match in _TOKEN.finditer(where.strip("`").removeprefix("$"))
        if match[1] or match[2]
    )
    if unknown := re.match(r"Object contains unknown field `([^`]+)`", sentence):
        place = place_of(text, name, *path, unknown[1])
        return place, "a key that docs/configuration.md has", f"unknown key {unknown[1]!a}"
    if missing := re.match(r"Object missing required field `([^`]+)`", sentence):
        return place_of(text, name, *path, missing[1]), "a value", "the key is missing"
    place = place_of(text, name, *path)
    if expected := re.match(r"Expected (.+?)(?:, got `([^`]+)`)?$", sentence):
        return place, _plain(expected[1]), _shown(path, _value(data, path), expected[2])
    if sentence.startswith("Invalid enum value"):
        return (
            place,
            "a word that docs/configuration.md names",
            _shown(path, _value(data, path), None),
        )
    return place, "what docs/configuration.md says", sentence


def _plain(expected: str) -> str:
    words = {"`int`": "a whole number", "`float`": "a number", "`str`": "text", "`bool`": "true or false"}
    words |= {"`array`": "a list", "`object`": "a table"}
    for word, plain in words.items():
        expected = expected.replace(word, plain)
    return expected.replace("matching regex", "of the form")


def _value(data: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return _NOWHERE
    return data


def _shown(path: _Path, value: Any, kind: str | None) -> str:
    """Quote a value shortly, unless it may be a secret or is a whole table."""
    if value is _NOWHERE:
        return kind or "nothing"
    secret = any(isinstance(part, str) and _SECRET.search(part) for part in path)
    if secret or isinstance(value, dict | list):
        return f"a value of the type {kind or type(value).__name__}"
    shown = ascii(value)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def _lines(text: str) -> dict[_Path, int]:
    """Find the line of every table and key; elements of arrays of tables have their number in the path."""
    lines: dict[_Path, int] = {}
    counts: dict[_Path, int] = {}
    table: _Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = ()
            parts = [part.strip().strip("\"'") for part in header[2].split(".")]
            for depth, part in enumerate(parts, 1):
                table = (*table, part)
                last = depth == len(parts)
                if last and header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                if table in counts:
                    lines.setdefault(table, number)
                    table = (*table, counts[table])
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            path = table
            for part in key[1].split("."):
                path = (*path, part.strip().strip("\"'"))
                lines.setdefault(path, number)
    return lines
