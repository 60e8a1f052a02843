"""Templates: one pass, nothing rescanned, what nobody filled stays as it stands."""

from __future__ import annotations

from typing import Any

import pytest

from treadle.core.errors import Invalid
from treadle.core.templates import declared, missing, placeholders, render

RENDERED: list[tuple[str, dict[str, Any], str]] = [
    ("weave {{cloth}}", {"cloth": "linen"}, "weave linen"),
    ("{{a}}{{b}}{{a}}", {"a": 1, "b": 2}, "121"),
    ("no placeholder", {"a": 1}, "no placeholder"),
    ("", {"a": 1}, ""),
    # one pass: a value that looks like a placeholder is text
    ("{{a}} {{b}}", {"a": "{{b}}", "b": "B"}, "{{b}} B"),
    ("{{a}}{{b}}", {"a": "{{", "b": "b}}"}, "{{b}}"),
    # nothing in a value has a meaning of its own
    ("{{a}}", {"a": "$& $1 \\1 \\g<0> %s {0}"}, "$& $1 \\1 \\g<0> %s {0}"),
    # what is not a placeholder stays
    ("{{ a }}", {"a": 1}, "{{ a }}"),
    ("{{a }}", {"a": 1}, "{{a }}"),
    ("{a}", {"a": 1}, "{a}"),
    ("{{}}", {"": 1}, "{{}}"),
    ("{{1a}}", {"1a": 1}, "{{1a}}"),
    ("{{_a}}", {"_a": 1}, "{{_a}}"),
    ("{{a-b}}", {"a-b": 1}, "{{a-b}}"),
    ("{{ä}}", {"ä": 1}, "{{ä}}"),
    ("{{a\n}}", {"a": 1}, "{{a\n}}"),
    ("{{a", {"a": 1}, "{{a"),
    # nested braces: the innermost pair counts
    ("{{{a}}}", {"a": 1}, "{1}"),
    ("{{{{a}}}}", {"a": 1}, "{{1}}"),
    ("{{a{{b}}", {"a": 1, "b": 2}, "{{a2"),
    # a name nobody gave a value stays; names are told apart by case
    ("{{a}} {{unknown}}", {"a": 1}, "1 {{unknown}}"),
    ("{{A}}{{a}}", {"a": 1}, "{{A}}1"),
    ("{{a_1B}}", {"a_1B": "x"}, "x"),
    # values are written as Python writes them
    ("{{a}}{{b}}{{c}}", {"a": True, "b": None, "c": 1.5}, "TrueNone1.5"),
]


@pytest.mark.parametrize(("template", "variables", "text"), RENDERED)
def test_rendered(template: str, variables: dict[str, Any], text: str) -> None:
    assert render(template, variables) == text


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{{b}} {{a}} {{b}}", ("a", "b")),
        ("{{ a }} {b} {{c-d}}", ()),
        ("{{{{deep}}}}", ("deep",)),
        ("{{a}}{{B}}{{_c}}", ("B", "a")),
    ],
)
def test_the_names_a_template_asks_for(template: str, names: tuple[str, ...]) -> None:
    assert placeholders(template) == names


def test_what_is_missing_comes_in_order_and_extra_variables_do_not_matter() -> None:
    assert missing("{{c}}{{a}}{{b}}", {"b": None, "extra": 1}) == ["a", "c"]


@pytest.mark.parametrize(
    ("template", "given", "names"),
    [
        ("{{b}}{{a}}", None, ("a", "b")),
        (None, None, ()),
        (None, ["x", "y"], ("x", "y")),
        ("{{a}}", ["z", "a", "z"], ("z", "a")),
        ("", [], ()),
    ],
)
def test_the_variables_a_type_declares(template: str | None, given: list[str] | None, names: tuple[str, ...]) -> None:
    assert declared(template, given) == names


def test_declared_variables_must_cover_the_template() -> None:
    with pytest.raises(Invalid) as refused:
        declared("{{a}}{{b}}{{c}}", ["b"])
    (fault,) = refused.value.faults
    assert (fault.field, fault.value) == ("variables", ["b"])
    assert fault.message.endswith("missing: a, c")
