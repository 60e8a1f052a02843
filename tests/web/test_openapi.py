"""The OpenAPI document is valid 3.1 and says all that the application can answer; its page needs no network."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from msgspec import Meta, Struct

from tests.web.asking import Filter, Problem, Thing, app_of, ask, route, things
from treadle.core.access import PUBLIC
from treadle.web.join import Joined
from treadle.web.openapi import Part, Spec, document
from treadle.web.rate import RateLimit
from treadle.web.sockets import SocketRoute

# What OpenAPI 3.1 demands of a document, as far as ours uses it; the schemas inside are JSON Schema 2020-12.
RESPONSE = {"type": "object", "required": ["description"], "properties": {"content": {"$ref": "#/$defs/content"}}}
SHAPE: dict[str, Any] = {
    "type": "object",
    "required": ["openapi", "info", "paths", "components"],
    "additionalProperties": False,
    "properties": {
        "openapi": {"const": "3.1.0"},
        "info": {"type": "object", "required": ["title", "version"]},
        "paths": {
            "type": "object",
            "propertyNames": {"pattern": r"^/"},
            "additionalProperties": {
                "type": "object",
                "propertyNames": {"enum": ["get", "put", "post", "delete", "patch", "x-websocket"]},
                "patternProperties": {"^x-": {"type": "object"}},
                "additionalProperties": {"$ref": "#/$defs/operation"},
            },
        },
        "components": {
            "type": "object",
            "properties": {
                "schemas": {"type": "object", "propertyNames": {"pattern": r"^[A-Za-z0-9._-]+$"}},
                "securitySchemes": {"type": "object", "additionalProperties": {"required": ["type"]}},
            },
        },
    },
    "$defs": {
        "content": {"type": "object", "minProperties": 1, "additionalProperties": {"required": ["schema"]}},
        "operation": {
            "type": "object",
            "required": ["operationId", "summary", "responses", "security"],
            "properties": {
                "parameters": {
                    "type": "array",
                    "items": {
                        "required": ["name", "in", "schema"],
                        "properties": {"in": {"enum": ["path", "query"]}},
                        "if": {"properties": {"in": {"const": "path"}}},
                        "then": {"properties": {"required": {"const": True}}, "required": ["required"]},
                    },
                },
                "requestBody": {"required": ["content"], "properties": {"content": {"$ref": "#/$defs/content"}}},
                "responses": {
                    "type": "object",
                    "minProperties": 1,
                    "propertyNames": {"pattern": r"^[1-5]\d\d$"},
                    "additionalProperties": RESPONSE,
                },
            },
        },
    },
}


def check(text: bytes) -> Any:
    """The document, once it is known to be valid, with every reference leading somewhere."""
    found = msgspec.json.decode(text)
    Draft202012Validator(SHAPE).validate(found)
    for schema in found["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for reference in re.findall(rb'"\$ref":"#/components/schemas/([^"]+)"', text):
        assert reference.decode() in found["components"]["schemas"]
    ids = [
        operation["operationId"]
        for path in found["paths"].values()
        for method, operation in path.items()
        if not method.startswith("x-")
    ]
    assert len(ids) == len(set(ids))
    for path, operations in found["paths"].items():
        for operation in operations.values():
            named = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
    return found


async def test_the_listener_serves_its_document() -> None:
    answer = await ask(app_of(things(), rate=RateLimit(10)), "GET", "/openapi.json")
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    found = check(answer.body)
    assert set(found["paths"]) == {"/health", "/api/things", "/api/things/{thingId}", "/api/login"}
    post = found["paths"]["/api/things"]["post"]
    assert post["security"] == [{"bearer": []}]
    assert post["x-scope"] == "thing:write"
    assert set(post["requestBody"]["content"]) == {"application/json"}
    assert post["requestBody"]["required"] is True
    assert set(post["responses"]) == {"200", "400", "401", "403", "413", "415", "422", "429", "500", "503"}
    assert post["responses"]["422"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    health = found["paths"]["/health"]["get"]
    assert health["security"] == []
    assert set(health["responses"]) == {"200", "400", "403", "500", "503"}
    assert "404" in found["paths"]["/api/things/{thingId}"]["get"]["responses"]


async def test_query_parameters_are_the_structs_fields() -> None:
    found = check((await ask(app_of(things()), "GET", "/openapi.json")).body)
    parameters = found["paths"]["/api/things"]["get"]["parameters"]
    assert parameters == [
        {
            "name": "limit", "in": "query", "required": False,
            "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 100},
        },
        {
            "name": "tag", "in": "query", "required": False,
            "schema": {"type": "array", "items": {"type": "string"}, "default": []},
        },
    ]  # fmt: skip


async def test_patterns_are_in_the_schemas_dialect() -> None:
    found = check((await ask(app_of(things()), "GET", "/openapi.json")).body)
    assert found["components"]["schemas"]["Thing"]["properties"]["name"]["pattern"] == "^[a-z0-9-]+$"
    assert found["components"]["schemas"]["Thing"]["additionalProperties"] is False


async def test_every_documented_status_is_the_set_the_application_gives() -> None:
    """Whatever the layers around a handler answer stands in the document (405 is about methods it does not list)."""
    app = app_of(things(), rate=RateLimit(1000), body_limit=100)
    found = check((await ask(app, "GET", "/openapi.json")).body)
    for row in app.routes:
        if not row.documented:
            continue
        documented = set(found["paths"][row.path][row.method.lower()]["responses"])
        path = row.path.replace("{thingId}", "x")
        bodies: list[Any] = [None, b"{", {}, b" " * 101, b"x=1"] if row.body is not None else [None]
        for body in bodies:
            for key in (None, "some", "all"):
                for headers in ({}, {"origin": "https://evil.example"}, {"content-type": "text/plain"}):
                    for query in ("", "?limit=x", "?%ff"):
                        answer = await ask(app, row.method, path + query, body, headers, key=key)
                        assert str(answer.status) in documented, (row.method, path, body, key, headers, answer)


class Wide(Struct):
    """A body all of whose fields may be left out."""

    name: Annotated[str, Meta(max_length=3)] = ""


def test_a_body_that_may_be_empty_is_not_required() -> None:
    spec = Spec(title="T", version="1", error=Problem)
    rows = [route("POST", "/a", body=Wide), route("POST", "/b", body=list[Wide]), route("GET", "/c/{rest*}")]
    found = check(document([Part(spec, rows, False, "/api")]))
    assert found["paths"]["/a"]["post"]["requestBody"]["required"] is False
    assert found["paths"]["/b"]["post"]["requestBody"]["required"] is True
    assert "/c/{rest}" in found["paths"]


async def test_a_shared_socket_has_one_document_for_all() -> None:
    other = Spec(
        title="Other", version="2", error=Wide, security={"key": {"type": "apiKey", "in": "header", "name": "K"}}
    )
    rows = [route("GET", "/api/health", reply=Problem), route("GET", "/other", scope="x")]
    second = app_of(rows, name="other", spec=other)
    first = app_of([*things(), route("GET", "/api/health", reply=Thing)])
    joined = Joined([first, second])
    found = check((await ask(joined, "GET", "/openapi.json")).body)
    assert found["info"]["title"] == "Test and Other"
    assert {"/health", "/api/health", "/other"} <= set(found["paths"])
    merged = found["paths"]["/api/health"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert merged == {"$ref": "#/components/schemas/Health"}
    assert {"name", "success"} < set(found["components"]["schemas"]["Health"]["properties"])
    assert found["paths"]["/other"]["get"]["security"] == [{"key": []}]
    assert set(found["components"]["securitySchemes"]) == {"bearer", "key"}


async def test_sockets_stand_beside_the_operations_of_their_address() -> None:
    socket = SocketRoute(
        path="/api/things/{thingId}",
        handler=None,  # type: ignore[arg-type]
        scope="thing:read",
        summary="What happens to a thing",
        query=Filter,
        subprotocols=("v1",),
        description="One message for each change.",
    )
    alone = SocketRoute(path="/ws/{rest*}", handler=None, scope=PUBLIC, summary="All")  # type: ignore[arg-type]
    hidden = SocketRoute(path="/hidden", handler=None, scope=PUBLIC, summary="No", documented=False)  # type: ignore[arg-type]
    found = check((await ask(app_of(things(), sockets=[socket, alone, hidden]), "GET", "/openapi.json")).body)
    shown = found["paths"]["/api/things/{thingId}"]
    assert {"get", "delete", "x-websocket"} == set(shown)
    assert [row["name"] for row in shown["x-websocket"]["parameters"]] == ["thingId", "limit", "tag"]
    assert shown["x-websocket"] | {"parameters": [], "tags": []} == {
        "summary": "What happens to a thing",
        "description": "One message for each change.",
        "tags": [],
        "parameters": [],
        "security": [{"bearer": []}],
        "x-scope": "thing:read",
        "subprotocols": ["v1"],
        "messageLimit": 1024 * 1024,
    }
    assert found["paths"]["/ws/{rest}"]["x-websocket"]["security"] == []
    assert "/hidden" not in found["paths"]


async def test_the_page_needs_no_network() -> None:
    app = app_of(things(), docs="/api/docs")
    page = await ask(app, "GET", "/api/docs")
    assert (page.status, page.header("content-type")) == (200, "text/html; charset=utf-8")
    links = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert len(links) >= 4
    for link in links:
        assert link.startswith("/"), "the page asks nobody else"
        answer = await ask(app, "GET", link)
        assert (answer.status, len(answer.body) > 100) == (200, True), link
    policy = page.header("content-security-policy") or ""
    assert "script-src 'self';" in policy
    assert "<script>" not in page.body.decode()
    assert b'url: "/openapi.json"' in (await ask(app, "GET", "/api/docs/start.js")).body
    assert b"SwaggerUIBundle" in (await ask(app, "GET", "/api/docs/swagger-ui-bundle.js")).body


async def test_the_pages_files_are_fetched_once() -> None:
    app = app_of(things(), docs="/docs")
    first = await ask(app, "GET", "/docs/swagger-ui.css")
    again = await ask(app, "GET", "/docs/swagger-ui.css", headers={"if-none-match": first.header("etag") or ""})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("name", ["index.html", "nothing.js", "..%2F__init__.py", "%2Fetc%2Fpasswd", "VERSION"])
async def test_only_the_pages_own_files_are_served(name: str) -> None:
    assert (await ask(app_of(things(), docs="/docs"), "GET", f"/docs/{name}")).status == 404
