"""Every route fuzzed from its own OpenAPI document: no 500, no hang, no answer that the document does not promise."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import CHECKS

from tests.faces.ufo.serving import Server, served
from tests.faces.ufo.stock import device

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EXAMPLES = 60
SECONDS = 10.0
"""How long one answer may take."""
ASKED = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("fuzz")) as running, device(running.socket, "d1"):
        yield running


@pytest.mark.parametrize("invalid", [False, True], ids=["valid", "invalid"])
def test_every_route(server: Server, invalid: bool) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    checks = CHECKS.get_by_names(list(ASKED))
    mode = schemathesis.GenerationMode.NEGATIVE if invalid else schemathesis.GenerationMode.POSITIVE
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @hypothesis.settings(
            max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck),
            phases=(hypothesis.Phase.generate,),
        )  # fmt: skip
        @hypothesis.seed(tried)
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def hammer(case: schemathesis.Case) -> None:
            if isinstance(case.query.get("wait"), int | float):
                case.query["wait"] = min(case.query["wait"], 0.01)
            if isinstance(case.body, dict) and case.body.get("client_id"):
                case.body["client_id"] = case.body["client_id"] if invalid else "d1"
            case.validate_response(case.call(timeout=SECONDS), checks=checks)

        try:
            hammer()
        except hypothesis.errors.Unsatisfiable:  # nothing about this operation can be wrong
            assert invalid
        tried += 1
    assert tried == 5
    assert [line for line in server.lines() if line["level"] == "error"] == []
