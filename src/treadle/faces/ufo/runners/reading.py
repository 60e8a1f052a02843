"""What a request says to the rules: a command line after `run:`, or a tool by name with its arguments."""

import re
import shlex
from typing import Any

import msgspec
from msgspec import Struct, field

_RUN = re.compile(r"\s*run:[ \t]*", re.IGNORECASE)
_NAMED = re.compile(r"\s*([A-Za-z_][\w.:-]*)\s*(.*)", re.DOTALL)
_PAIR = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


class Unreadable(Exception):
    """The request has the form of a tool call and cannot be read as one."""


class CommandLine(Struct, frozen=True):
    """`run: uname -s`"""

    line: str


class NamedCall(Struct, frozen=True):
    """A tool by its name. `words` are arguments given as `key=value`, whose types only the tool's schema knows.

    A `bare` name may as well be a request of one word.
    """

    name: str
    args: dict[str, Any] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    bare: bool = False


def read(request: str) -> CommandLine | NamedCall | None:
    """What the request says, or None where it is neither: free text. Raises Unreadable."""
    if (run := _RUN.match(request)) is not None:
        line = request[run.end() :].strip()
        if not line:
            raise Unreadable("run: is followed by no command")
        return CommandLine(line)
    text = request.strip()
    if text.startswith("{"):
        return _object(text)
    named = _NAMED.fullmatch(text)
    if named is None:
        return None
    name, rest = named[1], named[2].strip()
    if not rest:
        return NamedCall(name, bare=True)
    if rest.startswith("{") and rest.endswith("}"):
        return NamedCall(name, _arguments(name, rest))
    words = _pairs(rest)
    return NamedCall(name, words=words) if words else None


def outright(request: str) -> bool:
    """Whether the request is a command line or a tool call beyond doubt, well written or not."""
    try:
        said = read(request)
    except Unreadable:
        return True
    return isinstance(said, CommandLine) or (said is not None and request.lstrip().startswith("{"))


def call_of(given: Any) -> NamedCall:
    """A call written as `{"tool": …, "args": {…}}`. Raises Unreadable."""
    match given:
        case {"tool": str(name), **rest} if name and not rest.keys() - {"args"}:
            args = rest.get("args", {})
            if isinstance(args, dict):
                return NamedCall(name, args)
            raise Unreadable(f"the args of {name} must be an object")
    raise Unreadable('a tool call is written {"tool": NAME, "args": {…}}')


def typed(words: dict[str, str], schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments given as words, in the types that the tool's schema asks for. Raises Unreadable."""
    properties = schema.get("properties")
    return {name: _typed(name, word, (properties or {}).get(name)) for name, word in words.items()}


def _object(text: str) -> NamedCall | None:
    try:
        given = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        if '"tool"' not in text:
            return None
        raise Unreadable(f"the request is not JSON: {error}") from None
    return call_of(given) if isinstance(given, dict) and "tool" in given else None


def _arguments(name: str, text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Unreadable(f"the arguments of {name} are not a JSON object: {error}") from None


def _pairs(text: str) -> dict[str, str]:
    """`key=value` words, quoted as in a shell; none where any word is something else."""
    try:
        pairs = [_PAIR.fullmatch(word) for word in shlex.split(text)]
    except ValueError:
        return {}
    return {pair[1]: pair[2] for pair in pairs if pair} if all(pairs) else {}


def _typed(name: str, word: str, schema: Any) -> Any:
    kinds = schema.get("type") if isinstance(schema, dict) else None
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "string" in kinds or not {"integer", "number", "boolean", "object", "array", "null"} & {*kinds}:
        return word
    try:
        return msgspec.json.decode(word)
    except msgspec.DecodeError:
        raise Unreadable(f"{name}={word!r} is not {' or '.join(map(str, kinds))}") from None
