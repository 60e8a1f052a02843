"""One row for each route; from these rows follow dispatch, binding, the scope check, OpenAPI and the access matrix."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from treadle.core.errors import Malformed
from treadle.web.call import Call, Reply
from treadle.web.paths import check_pattern, names_of, segments_of

Handler = Callable[[Call], Awaitable[Reply]]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Route(Struct, frozen=True, kw_only=True):
    """One method on one path pattern: who may call it, what it reads, what it answers.

    `path` is made of segments: literal, `{name}` for exactly one, `{name*}` last for whatever remains (also nothing).
    `body`, `query` and `reply` are wire types; `form` also accepts the body as application/x-www-form-urlencoded.
    `scope` is `access.PUBLIC` or a right such as `queue:claim`. `errors` are further statuses worth documenting.
    """

    method: str
    path: str
    handler: Handler
    scope: str
    summary: str
    body: Any = None
    query: Any = None
    reply: Any = None
    status: int = 200
    errors: tuple[int, ...] = ()
    tag: str = ""
    form: bool = False
    counted: bool = True
    documented: bool = True
    description: str = ""
    media_type: str = "application/json"
    """What the reply is; a stream's is text/event-stream."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"{self.method} {self.path}: the method is one of {', '.join(METHODS)}")
        check_pattern(f"{self.method} {self.path}", self.path, self.scope)

    @property
    def segments(self) -> list[str]:
        return segments_of(self.path)

    @property
    def names(self) -> tuple[str, ...]:
        """The path parameters in order."""
        return names_of(self.path)


class Row(Protocol):
    """What the table and the access matrix need of a route, of HTTP or of a WebSocket."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def segments(self) -> list[str]: ...
    @property
    def names(self) -> tuple[str, ...]: ...


R = TypeVar("R", bound=Row)


def access_matrix(routes: Iterable[Row]) -> list[tuple[str, str, str]]:
    """Every (method, path, scope), sorted by path: what a test walks and a person reads."""
    return sorted(((route.method, route.path, route.scope) for route in routes), key=lambda row: (row[1], row[0]))


class _Node(Generic[R]):
    """One place in the segment tree."""

    __slots__ = ("children", "methods", "other", "rest")

    def __init__(self) -> None:
        self.children: dict[str, _Node[R]] = {}
        self.other: _Node[R] | None = None
        self.rest: dict[str, R] | None = None
        self.methods: dict[str, R] | None = None


Found = tuple[dict[str, R], list[str]]
"""The routes of an address by method, and the parameters' values in order."""


class Table(Generic[R]):
    """Finds the routes of an address; the number of routes costs nothing."""

    def __init__(self, routes: Iterable[R]) -> None:
        self.routes = tuple(routes)
        self._root: _Node[R] = _Node()
        self._exact: dict[bytes, dict[str, R]] = {}
        for route in self.routes:
            self._add(route)

    def _add(self, route: R) -> None:
        node = self._root
        rest = False
        for segment in route.segments:
            if segment.endswith("*}"):
                rest = True
            elif segment.startswith("{"):
                node.other = node.other or _Node()
                node = node.other
            else:
                node = node.children.setdefault(segment, _Node())
        methods = node.rest if rest else node.methods
        if methods is None:
            methods = {}
            if rest:
                node.rest = methods
            else:
                node.methods = methods
        if route.method in methods:
            raise ValueError(f"{route.method} {route.path} is declared twice")
        methods[route.method] = route
        if not route.names:
            self._exact[route.path.encode()] = methods

    def find(self, raw_path: bytes) -> Found[R] | None:
        """The routes at this address (percent-encoded, without the query); a trailing slash makes no difference.

        Raises Malformed if a segment is not UTF-8 or holds a NUL.
        """
        exact = self._exact.get(raw_path)
        if exact is not None:
            return exact, []
        segments = raw_path.decode("latin-1").split("/")
        del segments[0]
        if segments and segments[-1] == "":
            segments.pop()
        if b"%" in raw_path:
            segments = [_decoded(segment) if "%" in segment else segment for segment in segments]
        return _walk(self._root, segments)


def _decoded(segment: str) -> str:
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise Malformed("The address is not UTF-8") from None
    if "\0" in text:
        raise Malformed("The address holds a NUL character")
    return text


def _walk(root: _Node[R], segments: list[str]) -> Found[R] | None:
    """Literal segments win over parameters, parameters over the remainder."""
    node, values = root, []
    for segment in segments:
        child = node.children.get(segment)
        if child is None:
            child = node.other
            if child is None or not segment:
                break
            values.append(segment)
        elif node.other is not None or node.rest is not None:
            break  # two ways from here: the slow walk tries both
        node = child
    else:
        if node.methods is not None:
            return node.methods, values
    values = []
    methods = _search(root, segments, 0, values)
    return None if methods is None else (methods, values)


def _search(node: _Node[R], segments: list[str], at: int, values: list[str]) -> dict[str, R] | None:
    if at == len(segments):
        if node.methods is not None:
            return node.methods
    else:
        segment = segments[at]
        child = node.children.get(segment)
        if child is not None:
            found = _search(child, segments, at + 1, values)
            if found is not None:
                return found
        if node.other is not None and segment:
            values.append(segment)
            found = _search(node.other, segments, at + 1, values)
            if found is not None:
                return found
            values.pop()
    if node.rest is not None:
        values.append("/".join(segments[at:]))
        return node.rest
    return None
