"""Ids are random UUIDs in canonical text; secrets are long enough not to be guessed."""

from __future__ import annotations

import re
import uuid

from treadle.core.ids import new_id, new_secret


def test_an_id_is_a_canonical_random_uuid() -> None:
    made = [new_id() for _ in range(2000)]
    for text in made:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)
    assert len(set(made)) == len(made)
    for place in range(36):  # every random digit takes many values; of the two fixed ones, four and one
        if made[0][place] != "-":
            assert len({text[place] for text in made}) == {14: 1, 19: 4}.get(place, 16)


def test_a_secret_is_43_url_safe_characters() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", secret) for secret in made)
