"""A template is text with `{{variable}}` placeholders; rendering replaces each once, in one pass, never rescanning."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import Fault, Invalid

PLACEHOLDER = re.compile(r"\{\{([A-Za-z][A-Za-z0-9_]*)\}\}")


def placeholders(template: str) -> tuple[str, ...]:
    """The names a template asks for, alphabetical, no repeats."""
    return tuple(sorted(set(PLACEHOLDER.findall(template))))


def missing(template: str, variables: Mapping[str, Any]) -> list[str]:
    """The names a template asks for and the variables lack, alphabetical."""
    return [name for name in placeholders(template) if name not in variables]


def render(template: str, variables: Mapping[str, Any]) -> str:
    """The template with every placeholder replaced by its value; a name without a value stays as it stands."""
    return PLACEHOLDER.sub(lambda match: str(variables.get(match[1], match[0])), template)


def declared(template: str | None, given: Iterable[str] | None) -> tuple[str, ...]:
    """The variables a type declares: those given, which must cover the template's, else the template's own."""
    asked = placeholders(template or "")
    if given is None:
        return asked
    names = tuple(dict.fromkeys(given))
    uncovered = [name for name in asked if name not in names]
    if uncovered:
        rule = f"must contain every variable of the template; missing: {', '.join(uncovered)}"
        raise Invalid(Fault("variables", rule, list(names)))
    return names
