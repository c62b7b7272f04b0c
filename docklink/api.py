"""The table of requests: the server dispatches by it, the client calls by it, OpenAPI is written from it."""

import enum
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from docklink.errors import ProtocolError
from docklink.messages import (
    ClipPage,
    ClockReport,
    ClockStep,
    Device,
    EnrolStep,
    ProbeEcho,
    RenewStep,
    SignedDocument,
    SigningRequest,
    SigningRequests,
    TombstonePage,
    WearerAssignment,
    check_clip_id,
    check_file,
)

__all__ = [
    "COMMON_REFUSALS",
    "PAGE_LIMIT_BYTES",
    "PARAMETERS",
    "ROUTES",
    "Answer",
    "Match",
    "Route",
    "find_route",
    "target_of",
]

PAGE_LIMIT_BYTES = 256 * 1024
"""A page of clips, tombstones or log lines ends after the entry that goes beyond it."""
_PAGE_ANSWER_LIMIT_BYTES = 4 * 1024 * 1024  # a page and one entry, however large
_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")
_TARGET_LIMIT = 512


class Answer(enum.Enum):
    """What a granted request is answered with."""

    MESSAGE = enum.auto()
    FILE = enum.auto()
    LINES = enum.auto()
    NOTHING = enum.auto()


class Route(msgspec.Struct, frozen=True):
    """One request.

    `refusals` are the statuses beside those that every request may meet; `last_step_silent`: it has steps, and
    the last one is answered by 204.
    """

    name: str
    method: str
    template: str
    summary: str
    answer: Answer
    request_type: Any = None
    answer_types: tuple[type[msgspec.Struct], ...] = ()
    answer_status: int = 200
    query: tuple[str, ...] = ()
    refusals: Mapping[int, str] = {}
    enrolment: bool = False
    last_step_silent: bool = False
    answer_limit_bytes: int = 64 * 1024

    @property
    def statuses(self) -> tuple[int, ...]:
        """Every status that its answer may have."""
        granted = {self.answer_status}
        if self.answer is Answer.FILE:
            granted |= {206, 304}
        elif self.last_step_silent:
            granted.add(204)
        return tuple(sorted(granted | set(self.refusals) | set(COMMON_REFUSALS)))


COMMON_REFUSALS: Final[Mapping[int, str]] = {
    400: "not HTTP/1.1, or not in the grammar",
    403: "not in this kind of session, or the document is not good",
    404: "no such thing",
    405: "another method",
    413: "the body is too large",
    422: "the body is not as it must be; `field` names where",
    431: "the head is too large",
    500: "the camera failed",
    503: "the camera cannot now",
}

ROUTES: Final[tuple[Route, ...]] = (
    Route("device", "GET", "/v1/device", "identity and state", Answer.MESSAGE, None, (Device,)),
    Route("head", "GET", "/v1/head", "signed head", Answer.MESSAGE, None, (SignedDocument,)),
    Route(
        "clips",
        "GET",
        "/v1/clips",
        "clips with their state",
        Answer.MESSAGE,
        None,
        (ClipPage,),
        query=("after_clip",),
        answer_limit_bytes=_PAGE_ANSWER_LIMIT_BYTES,
    ),
    Route(
        "file",
        "GET",
        "/v1/clips/{clip}/{file}",
        "a file of a sealed clip",
        Answer.FILE,
        refusals={409: "not sealed", 410: "released", 416: "beyond its end"},
    ),
    Route(
        "receipt",
        "POST",
        "/v1/clips/{clip}/receipt",
        "a store holds the clip",
        Answer.NOTHING,
        SignedDocument,
        answer_status=204,
        refusals={409: "not sealed"},
    ),
    Route(
        "log",
        "GET",
        "/v1/log",
        "lines of the event log, as they are stored",
        Answer.LINES,
        query=("after_index",),
        answer_limit_bytes=_PAGE_ANSWER_LIMIT_BYTES,
    ),
    Route(
        "clock",
        "POST",
        "/v1/clock",
        "four time stamps; `probe`, then `set` with those of the quickest probe",
        Answer.MESSAGE,
        ClockStep,
        (ProbeEcho, ClockReport),
        refusals={409: "recording, or not a probe of this session"},
    ),
    Route(
        "config",
        "PUT",
        "/v1/config",
        "a signed configuration",
        Answer.NOTHING,
        SignedDocument,
        answer_status=204,
        refusals={409: "not newer, or recording"},
    ),
    Route(
        "wearer",
        "PUT",
        "/v1/wearer",
        "who wears the camera",
        Answer.NOTHING,
        WearerAssignment,
        answer_status=204,
        refusals={409: "recording"},
    ),
    Route(
        "epoch",
        "POST",
        "/v1/epoch",
        "the highest head that a dock has seen; the new one",
        Answer.MESSAGE,
        SignedDocument,
        (SignedDocument,),
        refusals={409: "recording, or not behind"},
    ),
    Route(
        "tombstones",
        "GET",
        "/v1/tombstones",
        "what is left of released clips",
        Answer.MESSAGE,
        None,
        (TombstonePage,),
        query=("after_clip",),
        answer_limit_bytes=_PAGE_ANSWER_LIMIT_BYTES,
    ),
    Route(
        "renew",
        "POST",
        "/v1/renew",
        "a new link certificate",
        Answer.MESSAGE,
        RenewStep,
        (SigningRequest,),
        refusals={409: "no `begin` before"},
        last_step_silent=True,
    ),
    Route(
        "enrol",
        "POST",
        "/v1/enrol",
        "a camera without identity becomes one of the agency",
        Answer.MESSAGE,
        EnrolStep,
        (SigningRequests,),
        refusals={409: "has an identity, or no `begin` before"},
        enrolment=True,
        last_step_silent=True,
    ),
)
"""Every request that there is; `device` is answered in an enrolment too."""

PARAMETERS: Final[Mapping[str, str]] = {
    "clip": "name of a clip",
    "file": "name of a file of a clip",
    "after_clip": "name of the clip after which the page begins",
    "after_index": "index after which the lines begin",
}
"""Parameters by their names in this table; on the wire the last two are called `after`."""


class Match(msgspec.Struct, frozen=True):
    """A request's route, and its parameters, checked."""

    route: Route
    parameters: Mapping[str, str]


def find_route(method: str, target: str) -> Match | int:
    """Find the route of a request, or the status that refuses it: 400, 404 or 405.

    There is nothing to decode: no name in the grammar has a character that would be escaped.
    """
    if len(target) > _TARGET_LIMIT:
        return 400
    path, question, query = target.partition("?")
    fitting = [(route, values) for route in ROUTES if (values := _fit(route.template, path)) is not None]
    if not fitting:
        return 404
    for route, values in fitting:
        if route.method != method:
            continue
        if question:
            name, equals, value = query.partition("=")
            if not route.query or not equals or name != "after":
                return 400
            values[route.query[0]] = value
        return Match(route, values) if _good(values) else 404
    return 405


def target_of(route: Route, parameters: Mapping[str, str]) -> str:
    """Return the request target of a route with its parameters.

    Raises:
        ProtocolError: a parameter is not in its grammar, lacking, or of another route.
    """
    names = set(re.findall(r"{(\w+)}", route.template))
    if not names <= set(parameters) <= names | set(route.query):
        raise ProtocolError(
            f"wrong parameters for {route.name}",
            expected=", ".join(sorted(names | set(route.query))) or "none",
            found=", ".join(sorted(parameters)) or "none",
        )
    for name, value in parameters.items():
        _check(name, value)
    query = [f"?after={parameters[name]}" for name in route.query if name in parameters]
    return route.template.format_map(parameters) + "".join(query)


def _fit(template: str, path: str) -> dict[str, str] | None:
    wanted, given = template.split("/"), path.split("/")
    if len(wanted) != len(given):
        return None
    values = {}
    for want, part in zip(wanted, given, strict=True):
        if want.startswith("{"):
            values[want[1:-1]] = part
        elif want != part:
            return None
    return values


def _good(values: Mapping[str, str]) -> bool:
    try:
        for name, value in values.items():
            _check(name, value)
    except ProtocolError:
        return False
    return True


def _check(name: str, value: str) -> None:
    if name == "file":
        check_file(value)
    elif name == "after_index":
        if not _INDEX.fullmatch(value):
            raise ProtocolError("not an index", expected=_INDEX.pattern, found=ascii(value[:40]))
    else:
        check_clip_id(value)
