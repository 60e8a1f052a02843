"""Names that people give, and the counts of a project."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from treadle.core.projects import ProjectName, Retries, Tally, TypeName, VariableName, WorkerName
from treadle.core.tasks import STATES

GOOD = ["a", "Z", "0", "_", "-", "web-1", "Build_It", "--", "7"]
BAD = ["", " ", "a b", "a.b", "a/b", "ä", "a\n", "\na", "a\x00", "a,b", "😀", "a\u200b", "..", "a:b", "a\u0660"]


@pytest.mark.parametrize(("kind", "longest"), [(ProjectName, 100), (TypeName, 100), (WorkerName, 50)])
def test_names(kind: Any, longest: int) -> None:
    for name in [*GOOD, "x" * longest]:
        assert msgspec.convert(name, kind) == name
    for name in [*BAD, "x" * (longest + 1)]:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(name, kind)


def test_names_of_variables() -> None:
    for name in ["a", "A1", "a_b", "x" * 100]:
        assert msgspec.convert(name, VariableName) == name
    for name in ["", "1a", "_a", "a-b", "a b", "a\n", "ä", "x" * 101]:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(name, VariableName)


def test_retries() -> None:
    assert [msgspec.convert(number, Retries) for number in (0, 10)] == [0, 10]
    for number in (-1, 11, 1.5, "3", True):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(number, Retries)


def test_a_tally_has_a_count_for_every_state_and_adds_them_up() -> None:
    tally = Tally(queued=1, running=2, succeeded=4, failed=8, cancelled=16)
    assert [tally.of(state) for state in STATES] == [1, 2, 4, 8, 16]
    assert tally.total == 31
    assert tuple(tally.__struct_fields__) == STATES
