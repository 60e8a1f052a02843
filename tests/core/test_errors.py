"""The tree of errors: drawn at the top of the file as it is, and each says what happened."""

from __future__ import annotations

import re

from treadle.core import errors
from treadle.core.errors import FabricError, Fault, Invalid, NotFound, StoreFull, TooMany


def every(error: type[FabricError]) -> set[type[FabricError]]:
    """The errors of the core; other rooms have classes of their own under them."""
    ours = (child for child in error.__subclasses__() if child.__module__ == errors.__name__)
    return {error}.union(*(every(child) for child in ours))


def test_the_drawing_names_every_error() -> None:
    drawn = set(re.findall(r"\b[A-Z][A-Za-z]+\b", (errors.__doc__ or "").split("\n\n")[1]))
    assert {error.__name__ for error in every(FabricError)} <= drawn


def test_an_error_without_words_says_what_its_class_says() -> None:
    for error in every(FabricError) - {NotFound, TooMany}:
        assert error().message == (error.__doc__ or "").strip()
        assert error().message.endswith(".")
    assert StoreFull("no room").message == "no room"
    assert NotFound("Task", "x").message == "Task x not found"
    assert TooMany(retry_after=3).message == "Too many requests."
    assert Invalid(Fault("a", "is wrong"), Fault("b.0", "is late")).message == "a: is wrong, b.0: is late"
