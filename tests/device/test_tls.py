"""A device over TLS: the server must be who it is said to be before it is told the token."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.device.scripted import scripted
from treadle.device.address import Address
from treadle.web.certificate import ensure_certificate, fingerprint


def certified(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate signed by itself, and a server's context with it."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    ensure_certificate(certificate, key, now=datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


async def paths_asked(address: str, context: ssl.SSLContext, *, pin: str = "", ca: Path | None = None) -> list[str]:
    """The paths that a server hears when a device with a token tries to connect."""
    heard: list[str] = []

    def door(_: object, request: object) -> None:
        heard.append(getattr(request, "path", ""))

    async with scripted(ssl=context, process_request=door) as script:
        target = Address(f"wss://{address}:{script.port}/ws", "sesame", pin=pin, ca=ca)
        with suppress(OSError):
            async with asyncio.timeout(10), connect(target.url, ssl=target.context(), proxy=None):
                pass
    return heard


async def test_a_pinned_certificate_is_known_whoever_signed_it(tmp_path: Path) -> None:
    certificate, context = certified(tmp_path)
    pin = fingerprint(certificate)
    assert await paths_asked("127.0.0.1", context, pin=pin) == ["/ws?token=sesame"]
    with_colons = ":".join(pin[at : at + 2] for at in range(0, 64, 2)).upper()
    assert await paths_asked("127.0.0.1", context, pin=with_colons) == ["/ws?token=sesame"]


@pytest.mark.parametrize("kind", ["another pin", "another authority", "the system's authorities"])
async def test_whoever_shows_another_certificate_is_told_nothing(tmp_path: Path, kind: str) -> None:
    _, context = certified(tmp_path)
    (tmp_path / "other").mkdir()
    other, _ = certified(tmp_path / "other")
    match kind:
        case "another pin":
            heard = await paths_asked("127.0.0.1", context, pin=fingerprint(other))
        case "another authority":
            heard = await paths_asked("127.0.0.1", context, ca=other)
        case _:
            heard = await paths_asked("127.0.0.1", context)
    assert heard == []


async def test_a_named_authority_is_believed(tmp_path: Path) -> None:
    certificate, context = certified(tmp_path)
    assert await paths_asked("127.0.0.1", context, ca=certificate) == ["/ws?token=sesame"]
