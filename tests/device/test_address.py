"""Addresses: what is taken, what is refused, and that the token is in none of their texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from treadle.device.address import Address, Wrong


@pytest.mark.parametrize(
    ("url", "token", "asked", "shown"),
    [
        ("ws://h:5000/ws", "", "ws://h:5000/ws", "ws://h:5000/ws"),
        ("ws://h:5000", "", "ws://h:5000/ws", "ws://h:5000/ws"),
        ("ws://h:5000/ws", "a b&c", "ws://h:5000/ws?token=a%20b%26c", "ws://h:5000/ws"),
        ("ws://h/ws?x=1", "k", "ws://h/ws?x=1&token=k", "ws://h/ws?x=1"),
        ("wss://[::1]:5/ws", "k", "wss://[::1]:5/ws?token=k", "wss://[::1]:5/ws"),
    ],
)
def test_the_token_is_in_what_is_asked_and_not_in_what_is_shown(url: str, token: str, asked: str, shown: str) -> None:
    address = Address(url, token)
    assert (address.url, str(address)) == (asked, shown)


@pytest.mark.parametrize(
    "url",
    ["http://h/ws", "h:5000", "", "ws://", "ws:///ws", "ws://h:99999/ws", "ws://u:p@h/ws", "ws://h/ws?token=t",
     "ws://h/ws#x"],
)  # fmt: skip
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(Wrong):
        Address(url)


def test_a_text_that_holds_the_token_is_cleaned() -> None:
    address = Address("ws://h/ws", "a b")
    assert address.hidden("no such place: ws://h/ws?token=a%20b (a b)") == "no such place: ws://h/ws?token=*** (***)"


@pytest.mark.parametrize("pin", ["12", "z" * 64, "a" * 63])
def test_a_pin_is_a_sha256(pin: str) -> None:
    with pytest.raises(Wrong):
        Address("wss://h/ws", pin=pin)


def test_certificates_belong_to_tls(tmp_path: Path) -> None:
    with pytest.raises(Wrong):
        Address("ws://h/ws", pin="a" * 64)
    with pytest.raises(Wrong):
        Address("wss://h/ws", ca=tmp_path / "none").context()
