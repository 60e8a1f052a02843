"""The OpenAPI 3.1 document of a listener, made from its routes and their wire types."""

import re
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, field

from treadle.core.access import PUBLIC
from treadle.web.call import Call, Reply
from treadle.web.routes import Route
from treadle.web.sockets import SocketRoute

PATH = "/openapi.json"
BEARER = {"type": "http", "scheme": "bearer"}
_REF = "#/components/schemas/{name}"


class Spec(Struct, frozen=True, kw_only=True):
    """What a face says of itself: its title, its error body's type and the ways to show a credential (any one does).

    With `optional` a caller without a credential is let in too.
    """

    title: str
    version: str
    error: Any
    description: str = ""
    security: dict[str, dict[str, Any]] = field(default_factory=lambda: {"bearer": BEARER})
    optional: bool = False


class Part(NamedTuple):
    """One face's share of a document; `limited` says whether addresses under `prefix` may answer 429.

    OpenAPI has no words for WebSockets: each stands at its path as the extension `x-websocket`.
    """

    spec: Spec
    routes: Sequence[Route]
    limited: bool
    prefix: str
    sockets: Sequence[SocketRoute] = ()


def openapi_route(describe: Callable[[], bytes]) -> Route:
    """Serves the document at /openapi.json; it is made once, when first asked for."""
    made: list[bytes] = []

    async def show(_: Call) -> Reply:
        if not made:
            made.append(describe())
        return Reply(body=made[0])

    return Route(
        method="GET", path=PATH, handler=show, scope=PUBLIC, summary="This document", counted=False, documented=False
    )


def document(parts: Sequence[Part], title: str | None = None) -> bytes:
    """One JSON document for all the parts; an address that two have is the first one's."""
    types = list(_types(parts))
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    known = {_key(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    owners: dict[str, int] = {}
    for number, part in enumerate(parts):
        for route in part.routes:
            path = re.sub(r"\*}$", "}", route.path)
            if route.documented and owners.setdefault(path, number) == number:
                paths.setdefault(path, {})[route.method.lower()] = _operation(route, part, known, components)
        for socket in part.sockets:
            if socket.documented:
                path = re.sub(r"\*}$", "}", socket.path)
                paths.setdefault(path, {})["x-websocket"] = _socket(socket, part, known, components)
    first = parts[0].spec
    return msgspec.json.encode(
        _ecma(
            {
                "openapi": "3.1.0",
                "info": {
                    "title": title or first.title,
                    "version": first.version,
                    "description": "\n\n".join(
                        dict.fromkeys(part.spec.description for part in parts if part.spec.description)
                    ),
                },
                "paths": paths,
                "components": {
                    "schemas": components,
                    "securitySchemes": {name: how for part in parts for name, how in part.spec.security.items()},
                },
            }
        )
    )


def _types(parts: Sequence[Part]) -> Iterable[Any]:
    seen: set[str] = set()
    for part in parts:
        wanted = [part.spec.error]
        for route in part.routes:
            if route.documented:
                wanted += [kind for kind in (route.body, route.query, route.reply) if kind is not None]
        wanted += [socket.query for socket in part.sockets if socket.documented and socket.query is not None]
        for kind in wanted:
            if _key(kind) not in seen:
                seen.add(_key(kind))
                yield kind


def _key(kind: Any) -> str:
    return f"{getattr(kind, '__module__', '')}.{kind!r}"


def _operation(route: Route, part: Part, schemas: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    public = route.scope == PUBLIC
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [route.tag or part.spec.title],
        "parameters": _parameters(route, schemas, components),
        "responses": _responses(route, part, schemas),
        "security": [] if public else [{name: []} for name in part.spec.security] + [{}] * part.spec.optional,
        "x-scope": route.scope,
    }
    if route.description:
        operation["description"] = route.description
    if route.body is not None:
        schema = schemas[_key(route.body)]
        shape = _resolved(schema, components)
        operation["requestBody"] = {
            "required": shape.get("type") != "object" or bool(shape.get("required")),
            # a form is read too where the route says so, but its text has no types, so the schema would be untrue of it
            "content": {"application/json": {"schema": schema}},
        }
    return operation


def _parameters(
    route: Route | SocketRoute, schemas: dict[str, Any], components: dict[str, Any]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in route.names
    ]
    if route.query is not None:
        shape = _resolved(schemas[_key(route.query)], components)
        required = shape.get("required", [])
        found += [
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            for name, schema in shape.get("properties", {}).items()
        ]
    return found


def _socket(socket: SocketRoute, part: Part, schemas: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """What opens a WebSocket: a GET with `Upgrade: websocket`, whose refusals are the face's ordinary errors."""
    shown: dict[str, Any] = {
        "summary": socket.summary,
        "tags": [socket.tag or part.spec.title],
        "parameters": _parameters(socket, schemas, components),
        "security": [] if socket.scope == PUBLIC else [{name: []} for name in part.spec.security],
        "x-scope": socket.scope,
        "subprotocols": list(socket.subprotocols),
        "messageLimit": socket.message_limit,
    }
    if socket.description:
        shown["description"] = socket.description
    return shown


def _operation_id(route: Route) -> str:
    words = re.findall(r"[A-Za-z0-9]+", route.path)
    return route.method.lower() + "".join(word[:1].upper() + word[1:] for word in words)


def _responses(route: Route, part: Part, schemas: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    if route.status not in (204, 304):
        schema = schemas[_key(route.reply)] if route.reply is not None else {}
        answer["content"] = {route.media_type: {"schema": schema}}
    error = {"content": {"application/json": {"schema": schemas[_key(part.spec.error)]}}}
    responses = {str(route.status): answer}
    for status in sorted(_errors(route, part)):
        responses.setdefault(str(status), {"description": HTTPStatus(status).phrase, **error})
    return responses


def _errors(route: Route, part: Part) -> set[int]:
    """Every status that the layers before and around the handler may answer, and those the route names."""
    found = {*route.errors, 400, 403, 500, 503}
    if route.scope != PUBLIC:
        found.add(401)
    if route.query is not None:
        found.add(422)
    if route.body is not None:
        found |= {413, 415, 422}
    if part.limited and route.path.startswith(f"{part.prefix}/"):
        found.add(429)
    return found


def _resolved(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    return schema


def _ecma(value: Any) -> Any:
    r"""Python's `\Z` is what JSON Schema's dialect of regular expressions calls `$`."""
    if isinstance(value, dict):
        return {
            key: item.replace(r"\Z", "$") if key == "pattern" and isinstance(item, str) else _ecma(item)
            for key, item in value.items()
        }
    return [_ecma(item) for item in value] if isinstance(value, list | tuple) else value
