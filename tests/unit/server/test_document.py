"""The OpenAPI document is true: requests generated from it meet no failure and no status that it does not name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from parrot import Serve
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tunewright.server.errors import STATUSES
from tunewright.server.limits import Limits
from tunewright.server.opening import open_model
from tunewright.server.routes import make_routes
from tunewright.server.served import Model

CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
LIMITS = {"max_body_bytes": 4000, "max_tokens": 8, "max_batch": 4, "max_requests": 4}


def bombard(address: str, num_requests: int) -> Counter[int]:
    """Send generated requests, half of them right, half of them wrong on purpose; the statuses that came back."""
    schema: Any = schemathesis.openapi.from_url(f"{address}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    strategies = [each.as_strategy(generation_mode=mode) for each in operations for mode in GenerationMode]
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=num_requests,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(strategies))
    def send(case: Any) -> None:
        if isinstance(case.body, dict) and len(case.body) % 2:
            case.body.pop("model", None)  # any name but one is answered with 404
        answer = case.call(base_url=address)
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    send()
    return statuses


@pytest.fixture
def generating(tiny_llama_folder: Path) -> Model:
    """A tiny model with the real engine."""
    return open_model(str(tiny_llama_folder))


@pytest.mark.parametrize("model", ["generating", "labelling"])
def test_generated_requests(model: str, serve: Serve, request: pytest.FixtureRequest) -> None:
    with serve(request.getfixturevalue(model), **LIMITS) as address:
        statuses = bombard(address, 250)
        assert httpx2.get(f"{address}/health").status_code == 200
    assert statuses[200] > 10
    assert statuses[400] > 10
    assert not any(status >= 500 for status in statuses)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["generating", "labelling"])
def test_two_thousand_generated_requests(model: str, serve: Serve, request: pytest.FixtureRequest) -> None:
    with serve(request.getfixturevalue(model), **LIMITS) as address:
        statuses = bombard(address, 1000)
    assert not any(status >= 500 for status in statuses)


def test_every_status_is_documented_where_it_can_occur() -> None:
    document = make_routes(Limits.Config()).openapi()
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/classify"):
        found = document["paths"][path]["post"]["responses"]
        assert set(found) == {"200", *map(str, STATUSES)}
        assert found["429"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    chat = document["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
    assert set(chat) == {"application/json", "text/event-stream"}
    text = str(document)
    assert "422" not in text
    assert "ValidationError" not in text
    assert "http://" not in text, "no page, script or style of elsewhere"
    assert "https://" not in text


def test_the_document_names_every_field_that_is_taken_and_no_other() -> None:
    schemas = make_routes(Limits.Config()).openapi()["components"]["schemas"]
    for name in ("ChatRequest", "CompletionRequest", "ClassifyRequest"):
        assert schemas[name]["additionalProperties"] is False
    assert {"messages", "max_completion_tokens", "user", "tools"} <= set(schemas["ChatRequest"]["properties"])
