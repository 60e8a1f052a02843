"""Every kind of credentials file lets us in at a real server, and damaged ones are refused without being shown."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import subprocess
from binascii import crc_hqx
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.adapters.bus.conftest import Reports
from treadle.adapters.bus.credentials import (
    Credentials,
    CredentialsUnusable,
    is_public_key,
    new_seed,
    public_key,
    read_credentials,
)
from treadle.adapters.bus.nats_server import find_program
from treadle.adapters.bus.opening import open_bus

SEED = "SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZIORRBU"
PUBLIC = "UCK5N7N66OBOINFXAYC2ACJQYFSOD4VYNU6APEJTAVFZB2SVHLKGEW7L"

Start = Callable[[dict[str, Any]], Awaitable[str]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a server with a configuration of the test's own; where it listens."""
    started: list[asyncio.subprocess.Process] = []

    async def start(configuration: dict[str, Any]) -> str:
        file = tmp_path / "own.conf"
        file.write_text(json.dumps({"host": "127.0.0.1", "port": -1, **configuration}))
        process = await asyncio.create_subprocess_exec(
            find_program(os.environ), "-c", file, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        started.append(process)
        assert process.stderr is not None
        said = ""
        async for line in process.stderr:
            said += line.decode()
            if b"Listening for client connections on " in line:
                return f"nats://{line.decode().split()[-1]}"
        raise AssertionError(said)

    yield start
    for process in started:
        process.terminate()
        await process.communicate()


async def let_in(url: str, credentials: Path | None, reports: Reports) -> None:
    bus = await open_bus(url, name="a", credentials=credentials, report=reports)

    async def echo(subject: str, payload: bytes) -> bytes:
        return payload

    with bus.serve("a", echo):
        assert await bus.request("a", b"x", 10) == b"x"
    await bus.close()
    assert reports.texts == []


async def test_a_user_with_a_password(start: Start, reports: Reports, tmp_path: Path) -> None:
    url = await start({"authorization": {"user": "me", "password": "a:b@c/d"}})
    file = tmp_path / "key"
    file.write_text("# ours\nme:a:b@c/d\n")
    await let_in(url, file, reports)
    await let_in(url.replace("://", "://me:a%3Ab%40c%2Fd@"), None, reports)


async def test_a_token(start: Start, reports: Reports, tmp_path: Path) -> None:
    url = await start({"authorization": {"token": "sesame"}})
    file = tmp_path / "key"
    file.write_text("sesame")
    await let_in(url, file, reports)
    await let_in(url.replace("://", "://sesame@"), None, reports)


async def test_an_nkey(start: Start, reports: Reports, tmp_path: Path) -> None:
    url = await start({"authorization": {"users": [{"nkey": PUBLIC}]}})
    file = tmp_path / "key"
    file.write_text(SEED + "\n")
    await let_in(url, file, reports)


async def test_no_credentials_where_none_are_asked_for(start: Start, reports: Reports) -> None:
    await let_in(await start({}), None, reports)


async def test_a_jwt_with_its_seed(start: Start, reports: Reports, tmp_path: Path) -> None:
    operator, account = Signer(14 << 3), Signer(0)
    seed = new_seed()
    limits = {"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1}
    trusted = operator.sign(operator.public, {"type": "operator", "version": 2})
    app = operator.sign(account.public, {"type": "account", "version": 2, "limits": {**limits, "wildcards": True}})
    user = account.sign(public_key(seed), {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1})
    url = await start({"operator": trusted, "resolver": "MEMORY", "resolver_preload": {account.public: app}})
    file = tmp_path / "a.creds"
    file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{user}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    await let_in(url, file, reports)


def test_keys_are_those_of_nats(tmp_path: Path) -> None:
    assert public_key(SEED) == PUBLIC
    assert is_public_key(PUBLIC)
    assert is_public_key(public_key(new_seed()))
    assert not any(map(is_public_key, ("", "U", PUBLIC[:-1] + "A", SEED, PUBLIC.lower(), "ü")))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "none that are known"),
        ("one\ntwo", "none that are known"),
        (SEED[:-1] + "A", "damaged nkey seed"),
        (f"-----BEGIN USER NKEY SEED-----\n{SEED}\n", "lack the JWT or the seed"),
        (f"-----BEGIN NATS USER JWT-----\nx.y.z\n-----BEGIN USER NKEY SEED-----\n{SEED[:-2]}\n", "damaged nkey seed"),
        ("pässwort", "no ASCII text"),
    ],
)
def test_what_is_no_credentials_file_is_refused(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    with pytest.raises(CredentialsUnusable, match=why) as refused:
        read_credentials(file)
    assert str(file) in str(refused.value)
    assert SEED[4:40] not in str(refused.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(CredentialsUnusable, match="No such file"):
        read_credentials(tmp_path / "none")


def test_nothing_is_shown() -> None:
    assert repr(Credentials("me", "p", "t", "j", "s")) == "Credentials()"


class Signer:
    """An operator or an account, as much of it as signing needs."""

    def __init__(self, kind: int) -> None:
        self._key = Ed25519PrivateKey.generate()
        raw = bytes([kind]) + self._key.public_key().public_bytes_raw()
        self.public = base64.b32encode(raw + crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")

    def sign(self, subject: str, claims: dict[str, Any]) -> str:
        body = {"sub": subject, "iss": self.public, "iat": 1, "jti": secrets.token_hex(8), "name": "x", "nats": claims}
        header = {"typ": "JWT", "alg": "ed25519-nkey"}
        said = ".".join(_base64(json.dumps(part).encode()) for part in (header, body))
        return f"{said}.{_base64(self._key.sign(said.encode()))}"


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
