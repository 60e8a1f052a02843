"""The registry: what a row must say, how an address finds its row, and the access matrix."""

from __future__ import annotations

import pytest

from tests.web.asking import app_of, ask, echo, route, things
from treadle.core.errors import Malformed
from treadle.web.routes import Route, Table, access_matrix

TREE = [
    route("GET", "/"),
    route("GET", "/a"),
    route("GET", "/a/{x}"),
    route("PUT", "/a/{x}"),
    route("GET", "/a/list"),
    route("GET", "/a/{x}/b"),
    route("GET", "/a/list/c"),
    route("GET", "/a/{x}/b/{y}"),
    route("GET", "/files/{rest*}"),
    route("GET", "/files/index"),
]


@pytest.mark.parametrize(
    ("address", "path", "values"),
    [
        ("/", "/", []),
        ("/a", "/a", []),
        ("/a/", "/a", []),
        ("/a/list", "/a/list", []),
        ("/a/list/", "/a/list", []),
        ("/a/1", "/a/{x}", ["1"]),
        ("/a/1/b", "/a/{x}/b", ["1"]),
        ("/a/list/b", "/a/{x}/b", ["list"]),  # the literal leads nowhere, so the parameter takes it
        ("/a/list/c", "/a/list/c", []),
        ("/a/1/b/2", "/a/{x}/b/{y}", ["1", "2"]),
        ("/a/two%20words", "/a/{x}", ["two words"]),
        ("/a/%C3%A9", "/a/{x}", ["é"]),
        ("/a/x%2Fy", "/a/{x}", ["x/y"]),  # an encoded slash is part of the segment
        ("/a/%6Cist", "/a/list", []),  # encoding a letter changes nothing
        ("/a/+", "/a/{x}", ["+"]),
        ("/files/a/b.txt", "/files/{rest*}", ["a/b.txt"]),
        ("/files/index", "/files/index", []),
        ("/files/index/x", "/files/{rest*}", ["index/x"]),
        ("/files", "/files/{rest*}", [""]),
    ],
)
def test_an_address_finds_its_row(address: str, path: str, values: list[str]) -> None:
    found = Table(TREE).find(address.encode())
    assert found is not None
    assert (found[0]["GET"].path, found[1]) == (path, values)


@pytest.mark.parametrize("address", ["/b", "/a/1/c", "//", "/a//b", "/A", "/a/1/b/2/3", "//a"])
def test_an_unknown_address_finds_nothing(address: str) -> None:
    assert Table(TREE).find(address.encode()) is None


@pytest.mark.parametrize("address", ["/a/%FF", "/a/%00", "/a/x%C3"])
def test_an_address_that_is_no_text_is_refused(address: str) -> None:
    with pytest.raises(Malformed):
        Table(TREE).find(address.encode())


@pytest.mark.parametrize(
    "row",
    [
        {"method": "GET", "path": "/x", "scope": ""},
        {"method": "GRAB", "path": "/x", "scope": "public"},
        {"method": "GET", "path": "x", "scope": "public"},
        {"method": "GET", "path": "/{rest*}/x", "scope": "public"},
        {"method": "GET", "path": "/{x}/{x}", "scope": "public"},
    ],
)
def test_a_row_without_its_facts_cannot_be_built(row: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=row["path"].replace("{", r"\{").replace("*", r"\*")):
        route(**row)
    with pytest.raises(TypeError):
        Route(method="GET", path="/x", handler=echo, summary="")  # type: ignore[call-arg]


def test_an_address_declared_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        Table([route("GET", "/a/{x}"), route("GET", "/a/{y}")])


def test_the_access_matrix_lists_every_row() -> None:
    app = app_of(things())
    matrix = access_matrix(app.routes)
    assert ("POST", "/api/things", "thing:write") in matrix
    assert ("GET", "/openapi.json", "public") in matrix
    assert len(matrix) == len(app.routes)


async def test_parameters_reach_the_handler_under_their_own_names() -> None:
    app = app_of([route("GET", "/p/{project}/t/{task}"), route("PUT", "/p/{id}/t/{number}")])
    assert (await ask(app, "GET", "/p/1/t/2%203")).json()["params"] == {"project": "1", "task": "2 3"}
    assert (await ask(app, "PUT", "/p/1/t/2")).json()["params"] == {"id": "1", "number": "2"}


async def test_every_declared_scope_is_asked_for() -> None:
    """The matrix, walked: without a credential every row that is not public refuses, whatever else is wrong."""
    app = app_of(things())
    for method, path, scope in access_matrix(app.routes):
        answer = await ask(app, method, path.replace("{thingId}", "1"), b"{" if method == "POST" else None)
        assert (answer.status == 401) == (scope != "public"), (method, path)


async def test_a_known_address_with_another_method_says_what_it_takes() -> None:
    app = app_of(things())
    answer = await ask(app, "PATCH", "/api/things", key="all")
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD, OPTIONS, POST")
    assert answer.json()["success"] is False


async def test_head_is_get_without_a_body() -> None:
    app = app_of(things())
    got, head = [await ask(app, method, "/api/things/7", key="all") for method in ("GET", "HEAD")]
    assert (head.status, head.body, head.header("content-length")) == (200, b"", str(len(got.body)))


async def test_options_says_what_an_address_takes() -> None:
    app = app_of(things())
    answer = await ask(app, "OPTIONS", "/api/things/7")
    assert (answer.status, answer.header("allow")) == (204, "DELETE, GET, HEAD, OPTIONS")
    assert answer.header("content-type") is None
    assert (await ask(app, "OPTIONS", "/nowhere")).status == 404
