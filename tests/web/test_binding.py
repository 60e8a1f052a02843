"""Bodies and queries into wire types: every broken rule is found, and what cannot be read is refused apart."""

from __future__ import annotations

import enum
import uuid
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Meta, Struct, UnsetType

from treadle.core.errors import Fault, Invalid, Malformed
from treadle.web.binding import Body, Query, check_depth

RULE = "Project name can only contain letters, numbers, hyphens, and underscores"


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Config(Struct, forbid_unknown_fields=True, rename="camel"):
    max_retries: Annotated[int, Meta(ge=0, le=10)] = 3
    mode: Literal["allow", "fail", "ignore"] = "allow"


class Order(Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=10, pattern=r"^[A-Za-z0-9_-]+\Z", extra={"rule": RULE})]
    id: uuid.UUID | None = None
    ratio: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    flag: bool = False
    config: Config | UnsetType = UNSET
    items: Annotated[list[Config], Meta(min_length=1, max_length=2)] | UnsetType = UNSET
    labels: dict[str, Annotated[str, Meta(max_length=3)]] = {}
    either: int | str | None = None
    colour: Colour = Colour.RED
    free: Any = None
    text: Annotated[str, Meta(min_length=3, pattern="^x")] | UnsetType = UNSET
    step: Annotated[int, Meta(multiple_of=5)] = 0


def rows(error: Invalid) -> list[tuple[str, str]]:
    return [(fault.field, fault.message) for fault in error.faults]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{}", [("name", '"name" is required')]),
        ("", [("name", '"name" is required')]),
        ('{"name":null}', [("name", '"name" must be a string')]),
        ('{"name":""}', [("name", '"name" is not allowed to be empty')]),
        ('{"name":"two words"}', [("name", RULE)]),
        ('{"name":"line\\n"}', [("name", RULE)]),
        (
            '{"name":"much too long a name"}',
            [("name", '"name" length must be less than or equal to 10 characters long'), ("name", RULE)],
        ),
        (
            '{"name":"a","text":"y"}',
            [
                ("text", '"text" length must be at least 3 characters long'),
                ("text", '"text" fails to match the required pattern: /^x/'),
            ],
        ),
        ('{"name":"a","extra":1}', [("extra", '"extra" is not allowed')]),
        ('{"name":"a","id":"nope"}', [("id", '"id" must be a valid GUID')]),
        ('{"name":"a","ratio":1}', [("ratio", '"ratio" must be less than 1')]),
        ('{"name":"a","ratio":0}', [("ratio", '"ratio" must be greater than 0')]),
        ('{"name":"a","ratio":"x"}', [("ratio", '"ratio" must be a number')]),
        ('{"name":"a","flag":"true"}', [("flag", '"flag" must be a boolean')]),
        ('{"name":"a","flag":1}', [("flag", '"flag" must be a boolean')]),
        ('{"name":"a","config":[]}', [("config", '"config" must be of type object')]),
        ('{"name":"a","config":null}', [("config", '"config" must be of type object')]),
        (
            '{"name":"a","config":{"maxRetries":11,"mode":"drop","max_retries":1}}',
            [
                ("config.maxRetries", '"config.maxRetries" must be less than or equal to 10'),
                ("config.mode", '"config.mode" must be one of [allow, fail, ignore]'),
                ("config.max_retries", '"config.max_retries" is not allowed'),
            ],
        ),
        ('{"name":"a","config":{"maxRetries":-1}}', [
            ("config.maxRetries", '"config.maxRetries" must be greater than or equal to 0')]),
        ('{"name":"a","config":{"maxRetries":1.5}}', [("config.maxRetries", '"config.maxRetries" must be an integer')]),
        ('{"name":"a","config":{"maxRetries":true}}', [("config.maxRetries", '"config.maxRetries" must be a number')]),
        ('{"name":"a","items":{}}', [("items", '"items" must be an array')]),
        ('{"name":"a","items":[]}', [("items", '"items" must contain at least 1 items')]),
        (
            '{"name":"a","items":[{"maxRetries":"1"},2,{}]}',
            [
                ("items", '"items" must contain less than or equal to 2 items'),
                ("items.0.maxRetries", '"items[0].maxRetries" must be a number'),
                ("items.1", '"items[1]" must be of type object'),
            ],
        ),
        ('{"name":"a","labels":{"k":"long"}}', [
            ("labels.k", '"labels.k" length must be less than or equal to 3 characters long')]),
        ('{"name":"a","either":[]}', [("either", '"either" must be one of [number, string]')]),
        ('{"name":"a","colour":"green"}', [("colour", '"colour" must be one of [red, blue]')]),
        ('{"name":"a","step":7}', [("step", '"step" must be a multiple of 5')]),
        ('{"name":"nul\\u0000"}', [("name", RULE), ("name", '"name" must not contain a NUL character')]),
        ('{"name":"a","free":{"k":["\\u0000"]}}', [("free.k.0", '"free.k[0]" must not contain a NUL character')]),
        ('{"name":"a","free":{"\\u0000":1}}', [
            ("free.\\0", '"free.\\0" must not contain a NUL character in its name')]),
    ],
)  # fmt: skip
def test_every_broken_rule_is_listed(body: str, expected: list[tuple[str, str]]) -> None:
    with pytest.raises(Invalid) as caught:
        Body(Order).json(body.encode())
    assert rows(caught.value) == expected


def test_the_value_is_given_unless_the_field_is_missing() -> None:
    with pytest.raises(Invalid) as caught:
        Body(Order).json(b'{"config":{"maxRetries":11}}')
    assert caught.value.faults == (
        Fault("name", '"name" is required'),
        Fault("config.maxRetries", '"config.maxRetries" must be less than or equal to 10', 11),
    )
    assert caught.value.faults[0].value is UNSET


@pytest.mark.parametrize(
    "body",
    [
        b"[]", b"5", b'"x"', b"null", b"{", b'{"name":', b'{"name":"a"} x', b"nope", b'{"name":NaN}',
        b'{"ratio":Infinity}',
        b'{"name":"\xff"}', b"\xff\xfe", b'{"name":"\\ud800"}', b'{"name":"a\x00"}', b'{"free":1e999}',
        b'{"free":' + b"[" * 64 + b"]" * 64 + b"}", b"[" * 100_000, b'{"a":' * 3000, b'\xef\xbb\xbf{"name":"a"}',
    ],
)  # fmt: skip
def test_what_is_no_readable_object_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        Body(Order).json(body)


def test_good_bodies_are_read() -> None:
    body = Body(Order)
    assert body.json(b'{"name":"a"}') == Order("a")
    assert body.json(b' {"name":"a","config":{"maxRetries":10}} ').config == Config(10)
    assert body.json(b'{"name":"a","name":"b"}').name == "b"  # the last of two wins, as in JavaScript
    assert body.json(b'{"name":"a","free":"\\\\u0000"}').free == "\\u0000"  # a backslash and letters, no NUL
    assert body.json(b'{"name":"a","free":"\\ud83d\\ude00"}').free == "\N{GRINNING FACE}"
    assert body.json(b'{"name":"a","step":5.0,"free":5.0}') == Order("a", step=5, free=5.0)  # JSON has one number type
    deep = b'{"name":"a","free":' + b"[" * 63 + b"]" * 63 + b"}"
    assert body.json(deep).name == "a"


def test_brackets_in_text_do_not_nest() -> None:
    check_depth(b'{"a":"' + b"[" * 1000 + b'\\"' + b"{" * 1000 + b'"}')
    check_depth(b"[" + b"[]," * 1000 + b"[]]")
    with pytest.raises(Malformed, match="64"):
        check_depth(b'["\\\\",' + b"[" * 64)


def test_an_empty_body_is_an_empty_object_only_where_one_is_wanted() -> None:
    assert Body(Config).json(b"") == Config()
    with pytest.raises(Malformed):
        Body(list[Config]).json(b"")


def test_lists_and_unions_can_be_bodies() -> None:
    class Cat(Struct, tag_field="kind", tag="cat"):
        lives: int = 9

    class Dog(Struct, tag_field="kind", tag="dog"):
        name: str

    with pytest.raises(Invalid) as caught:
        Body(list[Config]).json(b'[{"maxRetries":"x"}]')
    assert rows(caught.value) == [("0.maxRetries", '"[0].maxRetries" must be a number')]
    pets = Body(Cat | Dog)
    assert pets.json(b'{"kind":"dog","name":"Rex"}') == Dog("Rex")
    for body, expected in [
        (b'{"kind":"dog"}', [("name", '"name" is required')]),
        (b'{"kind":"cow"}', [("kind", '"kind" must be one of [cat, dog]')]),
        (b"{}", [("kind", '"kind" is required')]),
    ]:
        with pytest.raises(Invalid) as caught:
            pets.json(body)
        assert rows(caught.value) == expected


def test_a_structs_own_check_is_said_in_its_own_words() -> None:
    with pytest.raises(Invalid) as caught:
        Body(Outer).json(b'{"span":{"first":2,"last":1}}')
    assert rows(caught.value) == [("span", "last comes before first")]


class Span(Struct):
    first: int
    last: int

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError("last comes before first")


class Outer(Struct):
    span: Span


class Search(Struct, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=100)] = 100
    live: bool = False
    tag: list[str] = []
    order: Literal["up", "down"] = "up"
    word: str | None = None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", Search()),
        ("limit=5&live=true", Search(limit=5, live=True)),
        ("live=0&order=down", Search(order="down")),
        ("tag=a", Search(tag=["a"])),
        ("tag=a&tag=b%26c", Search(tag=["a", "b&c"])),
        ("word=null", Search(word="null")),
        ("word=a+b%20c", Search(word="a b c")),
        ("word=", Search(word="")),
    ],
)
def test_queries_are_read(query: str, expected: Search) -> None:
    assert Query(Search).parse(query.encode()) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=0", [("limit", '"limit" must be greater than or equal to 1')]),
        ("limit=101", [("limit", '"limit" must be less than or equal to 100')]),
        ("limit=ten", [("limit", '"limit" must be a number')]),
        ("limit=", [("limit", '"limit" must be a number')]),
        ("limit=5.5", [("limit", '"limit" must be an integer')]),
        ("limit=5&limit=6", [("limit", '"limit" must be a number')]),
        ("live=maybe", [("live", '"live" must be a boolean')]),
        ("order=left", [("order", '"order" must be one of [down, up]')]),
        ("depth=1", [("depth", '"depth" is not allowed')]),
        ("limit=x&live=y", [("limit", '"limit" must be a number'), ("live", '"live" must be a boolean')]),
        ("word=%00", [("word", '"word" must not contain a NUL character')]),
    ],
)
def test_query_faults_are_listed(query: str, expected: list[tuple[str, str]]) -> None:
    with pytest.raises(Invalid) as caught:
        Query(Search).parse(query.encode())
    assert rows(caught.value) == expected


@pytest.mark.parametrize("query", [b"word=%ff", b"word=\xff", b"&".join([b"tag=x"] * 1001)])
def test_unreadable_queries_are_malformed(query: bytes) -> None:
    with pytest.raises(Malformed):
        Query(Search).parse(query)


def test_forms_are_read_like_queries() -> None:
    assert Body(Order).form(b"name=a&ratio=0.25&flag=true") == Order("a", ratio=0.25, flag=True)
    with pytest.raises(Invalid) as caught:
        Body(Order).form(b"name=two+words&step=x")
    assert rows(caught.value) == [("name", RULE), ("step", '"step" must be a number')]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from([*Order.__struct_fields__, "other"])


@given(st.dictionaries(FIELDS, ANYTHING | st.sampled_from(["red", "abc", 5, {"maxRetries": 1}, [{}]]), max_size=6))
def test_whatever_is_sent_is_read_or_explained(body: dict[str, Any]) -> None:
    """No JSON object raises anything else, and the walk agrees with msgspec on what is wrong."""
    found: tuple[Fault, ...] = ()
    try:
        Body(Order).json(msgspec.json.encode(body))
    except Malformed:
        return  # a number out of range
    except Invalid as error:
        found = error.faults
        if not found:
            raise
    assert all(fault.field and fault.message for fault in found)
    assert not any("Expected" in fault.message for fault in found), "msgspec's words slipped through"


@given(ANYTHING, st.booleans())
def test_depth_is_what_it_is(value: Any, many_quotes: bool) -> None:
    """Both ways of leaving the strings out agree with a walk over the value."""

    def depth(of: Any) -> int:
        inner = of.values() if isinstance(of, dict) else of if isinstance(of, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    wrapped = [value, '[{\\"[', "\\"] + ([""] * 110_000 if many_quotes else [])
    raw = msgspec.json.encode(wrapped)
    check_depth(raw, depth(wrapped))
    with pytest.raises(Malformed):
        check_depth(raw, depth(wrapped) - 1)
