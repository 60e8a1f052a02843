"""How passwords are kept and judged."""

from __future__ import annotations

import asyncio

import pytest

from treadle.core.errors import TooMany
from treadle.faces.console.gate.strength import LEAST_BITS, bits
from treadle.web import passwords
from treadle.web.passwords import Passwords


async def test_kept_as_argon2id_with_a_salt_of_its_own() -> None:
    kept = Passwords()
    first, second = await asyncio.gather(kept.hashed("one"), kept.hashed("one"))
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert [await kept.fits(text, first) for text in ("one", "two", "")] == [True, False, False]


async def test_nobodys_password_costs_as_much_and_fits_nothing() -> None:
    kept = Passwords()
    assert not await kept.fits("", None)
    assert not await kept.fits("x", "no hash at all")


async def test_a_crowd_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAITING", 1)
    kept = Passwords()
    hashed = await kept.hashed("one")
    asked = await asyncio.gather(*(kept.fits("one", hashed) for _ in range(6)), return_exceptions=True)
    assert asked[:3] == [True, True, True]
    assert all(isinstance(refused, TooMany) for refused in asked[3:])
    assert await kept.fits("one", hashed)


@pytest.mark.parametrize(
    "password", ["correct horse battery", "Analytical engine, 1837", "xK4$vQ9!pL2z", "päßwörter-sind-lang"]
)
def test_hard_to_guess(password: str) -> None:
    assert bits(password) >= LEAST_BITS


@pytest.mark.parametrize(
    "password",
    ["", "a", "password", "aaaaaaaaaaaaaaaa", "abcdefghijklmnopqrstuvwxyz", "ababababababababab", "11223344556677"],
)
def test_easy_to_guess(password: str) -> None:
    assert bits(password) < LEAST_BITS
