"""One connection: statements in bursts, values there and back, refusals in their place."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from treadle.adapters.store.postgres.address import Address
from treadle.adapters.store.postgres.line import Line
from treadle.adapters.store.postgres.troubles import Lost, Refusal

pytestmark = pytest.mark.needs("postgres")
TEXTS = st.one_of(st.none(), st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
NUMBERS = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))


@pytest.fixture
def line(postgres_url: str) -> Iterator[Line]:
    line = Line(Address(postgres_url).connect())
    yield line
    line.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXTS), st.lists(NUMBERS), st.lists(st.one_of(st.none(), st.booleans())))
def test_arrays_arrive_as_they_were_sent(
    line: Line, texts: list[str | None], numbers: list[int | None], flags: list[bool | None]
) -> None:
    for kind, values in (("text", texts), ("bigint", numbers), ("boolean", flags)):
        rows = line.ask(
            f"SELECT value FROM unnest($1::{kind}[]) WITH ORDINALITY AS v (value, place) ORDER BY place", values
        )
        assert [value for (value,) in rows] == values


@pytest.mark.parametrize("text", ["NULL", "", " ", "{}", '{"', "\\", ",", "a,b", '"', "\t\n\r", "ünï ✓ 🧵"])
def test_hard_words_are_kept(line: Line, text: str) -> None:
    assert line.ask("SELECT $1::text, ($2::text[])[1]", text, [text]) == [(text, text)]


def test_questions_get_the_rows_of_their_own(line: Line) -> None:
    line.tell("SELECT 'not asked for'")
    assert line.ask("SELECT 1::bigint, NULL::text, true") == [(1, None, True)]
    line.tell("SELECT 2::bigint")
    line.tell("SELECT 3::bigint WHERE false")
    line.tell("SELECT 4::bigint FROM generate_series(1, 2)")
    assert line.ask_told(3) == [[(2,)], [], [(4,), (4,)]]
    assert line.ask("SELECT 2::bigint") == [(2,)]  # prepared by now


def test_a_refusal_spoils_the_transaction_and_not_the_line(line: Line) -> None:
    line.tell("BEGIN")
    line.tell("SELECT 1 / 0")
    line.tell("SELECT 'never prepared'")
    with pytest.raises(Refusal, match="division by zero") as refused:
        line.ask("SELECT 2::bigint")
    assert (refused.value.sqlstate, line.idle) == ("22012", False)
    with pytest.raises(Refusal) as spoilt:
        line.ask("SELECT 2::bigint")
    assert spoilt.value.sqlstate == "25P02"
    line.ask("ROLLBACK")
    assert line.idle
    assert line.ask("SELECT 'never prepared'") == [("never prepared",)]
    assert line.ask("SELECT 2::bigint") == [(2,)]


def test_what_is_forgotten_was_never_sent(line: Line) -> None:
    line.tell("SELECT 1 / 0")
    line.forget_told()
    assert line.ask("SELECT 1::bigint") == [(1,)]


def test_much_goes_both_ways_at_once(line: Line) -> None:
    """More than any buffer on the way holds: who only sends before they listen would wait for ever."""
    text = "x" * 3_000_000
    for _ in range(4):
        line.tell("SELECT $1::text", text)
    answers = line.ask_told(4)
    assert [rows[0][0] == text for rows in answers] == [True] * 4


def test_an_ended_connection_is_lost(line: Line) -> None:
    with pytest.raises(Lost):
        line.ask("SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(Lost):
        line.ask("SELECT 1")
    line.close()
    with pytest.raises(Lost):
        line.ask("SELECT 1")
