"""The OpenAPI document: valid, as committed, and true of what both ends send."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no types
import msgspec
import pytest

from docklink import messages as m
from docklink.api import ROUTES, Answer
from docklink.openapi import document, document_text
from docklink.service import HANDLERS
from docklink.simulated import SimulatedCamera
from evidence.clock import ClockSource
from evidence.documents import ConfigRef

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"
UTC = "2026-11-22T03:55:23.524000Z"
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
SIGNED = m.SignedDocument(b"{}", b"\x30\x00")
CLIP = "notime-cam0042-000318"
EXAMPLES: tuple[msgspec.Struct, ...] = (
    SIGNED,
    m.Problem(422, "Unprocessable", "not newer", "version"),
    m.Device(
        device="cam0042",
        epoch="1" * 32,
        generation=1,
        firmware="0.1.0",
        recorder=m.RecorderState.RECORDING,
        battery=m.Battery(None, None),
        storage=m.Storage(1, 1, 0),
        temperature_millicelsius=None,
        clock=m.ClockReport("0" * 32, 1, UTC, ClockSource.DOCK, 1, 1),
        config=ConfigRef(1, DIGEST),
        wearer="w-7f3a",
        link_not_after_utc=UTC,
    ),
    m.ClipPage((m.ClipEntry(CLIP, "1" * 32, 318, m.ClipState.SEALED, 5, DIGEST, True),), False),
    m.TombstonePage((m.TombstoneEntry(CLIP, b'{"l":1}\n', SIGNED, SIGNED),), True),
    m.Probe(1),
    m.ProbeEcho("0" * 32, 1, 2),
    m.SetClock("0" * 32, 1, 2, 3, 4, 5),
    m.ClockReport("0" * 32, 1, None, ClockSource.NONE, None, None),
    m.WearerAssignment("w-7f3a", UTC, "2026-11-22T16:00:00.000000Z"),
    m.RenewBegin(),
    m.RenewInstall((b"\x30\x00",)),
    m.SigningRequest(b"\x30\x00"),
    m.EnrolBegin("cam0042", DIGEST, DIGEST),
    m.SigningRequests(b"\x30\x00", b"\x30\x00"),
    m.EnrolInstall((b"\x30",), (b"\x30",), (b"\x30",), SIGNED),
)


def test_the_committed_document_is_the_generated_one() -> None:
    assert COMMITTED.read_text("utf-8") == document_text(), "python -m docklink.openapi > docs/openapi.json"


def test_it_is_a_valid_openapi_document() -> None:
    validator = pytest.importorskip("openapi_spec_validator", reason="comes with `make test`")
    validator.validate(document())


def test_every_reference_leads_somewhere_and_no_schema_is_left_over() -> None:
    content = document()
    text = json.dumps(content)
    schemas = content["components"]["schemas"]
    for name, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert f'"#/components/schemas/{name}"' in text
    used = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert used == set(schemas)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_what_is_sent_fits_its_schema(example: msgspec.Struct) -> None:
    content = document()
    schema: dict[str, Any] = {
        "$ref": f"#/components/schemas/{type(example).__name__}",
        "components": content["components"],
    }
    validator = jsonschema.Draft202012Validator(schema)
    value = json.loads(m.encode_message(example))
    validator.validate(value)
    assert m.decode_message(m.encode_message(example), type(example)) == example
    assert not validator.is_valid({**value, "extra": 1})
    with pytest.raises(msgspec.ValidationError):
        m.decode_message(json.dumps({**value, "extra": 1}).encode(), type(example))


def test_every_message_of_the_table_has_an_example() -> None:
    shown = {type(example).__name__ for example in EXAMPLES}
    parts = {"Battery", "Storage", "ClipEntry", "TombstoneEntry", "ConfigRef", "HealthEntry"}
    schemas = document()["components"]["schemas"]
    assert {name for name, schema in schemas.items() if schema.get("type") == "object"} == shown | parts


def test_document_table_service_and_simulation_have_the_same_requests() -> None:
    names = [route.name for route in ROUTES]
    operations = [each for path in document()["paths"].values() for each in path.values()]
    assert sorted(names) == sorted(each["operationId"] for each in operations) == sorted(HANDLERS)
    assert all(hasattr(SimulatedCamera, name) for name in names)


def test_every_route_answers_with_something_it_lists() -> None:
    for route in ROUTES:
        assert route.answer_status in route.statuses
        assert (route.answer is Answer.MESSAGE) == bool(route.answer_types)
        assert (route.answer is Answer.NOTHING) == (route.answer_status == 204)
