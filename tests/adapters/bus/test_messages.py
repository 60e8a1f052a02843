"""Subjects are spelled so that a NATS server takes them, and come back as they were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from treadle.adapters.bus.messages import LONGEST, read, spelled, spelled_served

SUBJECTS = st.text(st.characters(codec=None) | st.sampled_from(".%*> \r\n\t~_-\ud800"), min_size=1, max_size=40)


def fits(subject: str) -> bool:
    try:
        spelled(subject)
    except ValueError:
        return False
    return True


@given(SUBJECTS.filter(fits))
def test_a_subject_comes_back_as_it_was(subject: str) -> None:
    spelling = spelled(subject)
    assert read(spelling) == subject
    assert len(spelling) <= LONGEST
    words = spelling.split(".")
    assert all(words)
    assert len(words) == subject.count(".") + 1
    assert spelling.isascii()
    assert not set(spelling) & set("*> \r\n\t$")


@given(SUBJECTS.filter(fits), SUBJECTS.filter(fits))
def test_different_subjects_are_spelled_differently(one: str, other: str) -> None:
    assert (spelled(one) == spelled(other)) is (one == other)


def test_plain_subjects_stay_as_they_are() -> None:
    for subject in ("queue.0f8fad5b-d9cb-469f-a165-70867728950e", "desk.node_1.claim"):
        assert spelled(subject) == subject
    assert spelled_served("desk.>") == "desk.>"
    assert spelled_served("de sk.>.>") == "de%20sk.%3E.>"
    assert spelled("desk.>") == "desk.%3E"
