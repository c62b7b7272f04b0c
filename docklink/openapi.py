"""The OpenAPI 3.1 document, from the table of requests: `python -m docklink.openapi > docs/openapi.json`."""

import re
import sys
from typing import Any

import msgspec

from docklink.api import COMMON_REFUSALS, PARAMETERS, ROUTES, Answer, Route
from docklink.messages import FILES, Problem
from evidence.documents.fields import ClipName

__all__ = ["document", "document_text"]

_REF = "#/components/schemas/{name}"
_VERSION = "1.0.0"
_ABOUT = """A camera as a dock sees it: HTTP/1.1 over mutual TLS 1.3, on TCP or on a serial line.
Both certificates are of one agency and carry the private role camera-link or dock-link (docs/formats.md)."""
Json = dict[str, Any]


def document() -> Json:
    """Return the document as plain values."""
    messages = {each for route in ROUTES for each in (route.request_type, *route.answer_types) if each}
    ordered = sorted(messages, key=str)
    schemas, components = msgspec.json.schema_components([*ordered, Problem], ref_template=_REF)
    schema_of = dict(zip([*ordered, Problem], schemas, strict=True))
    paths: dict[str, Json] = {}
    for route in ROUTES:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route, schema_of)
    content: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Preroll camera",
            "version": _VERSION,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "https://camera"}],
        "security": [{"agency": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"agency": {"type": "mutualTLS", "description": "a dock-link certificate"}},
        },
    }
    translated: Json = _with_common_patterns(content)
    return translated


def document_text() -> str:
    """Return the document as it is committed."""
    data = msgspec.json.format(msgspec.json.encode(document()), indent=2)
    return data.decode("utf-8") + "\n"


def _operation(route: Route, schema_of: dict[Any, Json]) -> Json:
    names = re.findall(r"{(\w+)}", route.template)
    parameters = [_parameter(name, name, "path") for name in names]
    parameters += [_parameter(name, "after", "query") for name in route.query]
    operation: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": parameters,
        "responses": {str(status): _response(route, status, schema_of) for status in route.statuses},
    }
    if route.answer is Answer.FILE:
        operation["parameters"] += [_header(each) for each in ("Range", "If-Range", "If-None-Match")]
    if route.request_type is not None:
        body = {"schema": schema_of[route.request_type]}
        operation["requestBody"] = {"required": True, "content": {"application/json": body}}
    if route.enrolment:
        operation["security"] = [{}]
    return operation


def _parameter(name: str, shown: str, place: str) -> Json:
    schema: Json = {"type": "string", "enum": list(FILES)}
    if name == "after_index":
        schema = {"type": "integer", "minimum": 0}
    elif name != "file":
        schema = msgspec.json.schema(ClipName)
    return {
        "name": shown,
        "in": place,
        "required": place == "path",
        "description": PARAMETERS[name],
        "schema": schema,
    }


def _header(name: str) -> Json:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}


def _response(route: Route, status: int, schema_of: dict[Any, Json]) -> Json:
    refusals = {**COMMON_REFUSALS, **route.refusals}
    if status in refusals:
        problem = {"application/problem+json": {"schema": schema_of[Problem]}}
        return {"description": refusals[status], "content": problem}
    if status == route.answer_status and route.answer is Answer.MESSAGE:
        kinds = [schema_of[each] for each in route.answer_types]
        schema = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
        return {"description": "granted", "content": {"application/json": {"schema": schema}}}
    if status == route.answer_status and route.answer is Answer.LINES:
        lines = {"application/x-ndjson": {"schema": {"type": "string"}}}
        return {"description": "whole lines", "content": lines}
    if status in (200, 206):
        description = "the whole file" if status == route.answer_status else "a part of it"
        headers = {"ETag": {"description": "SHA-256 of the file", "schema": {"type": "string"}}}
        if status != route.answer_status:
            headers["Content-Range"] = {"description": "which part", "schema": {"type": "string"}}
        return {"description": description, "headers": headers, "content": {"application/octet-stream": {}}}
    return {"description": "not changed" if status == 304 else "done"}  # noqa: PLR2004 - HTTP's number


def _with_common_patterns(value: Any) -> Any:
    r"""Write Python's anchors `\\A` and `\\Z` as ECMA-262 has them; there `$` means the end alone."""
    if isinstance(value, dict):
        return {
            key: each.replace(r"\A", "^").replace(r"\Z", "$")
            if key == "pattern" and isinstance(each, str)
            else _with_common_patterns(each)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [_with_common_patterns(each) for each in value]
    return value


if __name__ == "__main__":
    sys.stdout.write(document_text())
