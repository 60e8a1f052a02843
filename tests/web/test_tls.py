"""TLS: the certificate made at the first start, and listeners that show it."""

from __future__ import annotations

import asyncio
import datetime
import os
import socket
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from websockets.asyncio.client import connect

from tests.web.asking import app_of, echo, route
from tests.web.dialling import mirror
from tests.web.wire import listening
from treadle.core.access import PUBLIC
from treadle.web.certificate import ensure_certificate, fingerprint
from treadle.web.listen import Address, CannotListen, Face, Listeners, tls_context
from treadle.web.sockets import SocketRoute

NOW = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "certificate.pem", folder / "key.pem"
    assert ensure_certificate(*files, now=datetime.datetime.now(datetime.UTC))
    return str(files[0]), str(files[1])


def test_a_certificate_is_made_once(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    mask = os.umask(0)
    try:
        assert ensure_certificate(certificate, key, now=NOW, names=["loom.example", "192.0.2.7"])
    finally:
        os.umask(mask)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (certificate, key)] == [0o600, 0o600]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["certificate.pem", "key.pem"]
    made = certificate.read_bytes(), key.read_bytes()
    assert not ensure_certificate(certificate, key, now=NOW)
    assert (certificate.read_bytes(), key.read_bytes()) == made
    read = x509.load_pem_x509_certificate(made[0])
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", socket.gethostname(), "loom.example"} <= set(names.get_values_for_type(x509.DNSName))
    assert {"127.0.0.1", "::1", "192.0.2.7"} == {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}
    assert read.not_valid_before_utc < NOW < read.not_valid_after_utc
    assert (read.not_valid_after_utc - NOW).days == 3650
    from cryptography.hazmat.primitives import hashes

    assert fingerprint(certificate) == read.fingerprint(hashes.SHA256()).hex()
    key.unlink()
    assert ensure_certificate(certificate, key, now=NOW)  # half a pair is none
    assert certificate.read_bytes() != made[0]


def trusting(certificate: str) -> ssl.SSLContext:
    """A client that trusts this certificate alone, as strictly as newer versions of Python are by themselves."""
    context = ssl.create_default_context(cafile=certificate)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_a_socket_and_a_request_over_tls(pair: tuple[str, str], name: str) -> None:
    app = app_of(
        [route("GET", "/a", echo)], sockets=[SocketRoute(path="/ws", handler=mirror, scope=PUBLIC, summary="")]
    )
    face = Face("architect", app, Address("127.0.0.1", 0), pair, "wss", "/ws")
    async with listening(face) as listeners:
        port = listeners.addresses["architect"].port
        assert listeners.urls == {"architect": f"wss://127.0.0.1:{port}/ws"}
        origin = f"https://{name}:{port}"
        async with connect(
            f"wss://{name}:{port}/ws",
            ssl=trusting(pair[0]),
            compression=None,
            proxy=None,
            origin=origin,  # type: ignore[arg-type]
        ) as client:
            await client.recv()
            await client.send("x" * 300_000)
            assert len(await client.recv()) == 300_000
            protocol = client.transport.get_extra_info("ssl_object").version()
            assert protocol == "TLSv1.3"
            hsts = client.response.headers if client.response is not None else {}
            assert hsts["x-correlation-id"]


async def test_a_request_over_the_oldest_version(pair: tuple[str, str]) -> None:
    assert tls_context(*pair).minimum_version == ssl.TLSVersion.TLSv1_2
    context = trusting(pair[0])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with listening(Face("a", app_of([route("GET", "/a", echo)]), Address("127.0.0.1", 0), pair)) as listeners:
        address = listeners.addresses["a"]
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
        writer.write(b"GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head = (await reader.read()).decode()
        assert head.startswith("HTTP/1.1 200")
        assert "strict-transport-security" in head
        writer.close()


def test_a_certificate_that_cannot_be_shown_is_one_line(pair: tuple[str, str], tmp_path: Path) -> None:
    address = Address("127.0.0.1", 0)
    other = tmp_path / "c.pem", tmp_path / "k.pem"
    ensure_certificate(*other, now=NOW)
    for files in ((pair[0], str(other[1])), (str(tmp_path / "none"), pair[1])):
        listeners = Listeners([Face("architect", app_of([]), address, files)])
        with pytest.raises(CannotListen, match="architect cannot"):
            listeners.open()
        assert listeners.addresses == {}


def test_one_socket_shows_one_certificate(pair: tuple[str, str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", probe.getsockname()[1])
    listeners = Listeners([Face("a", app_of([]), address, pair), Face("b", app_of([]), address)])
    with pytest.raises(CannotListen, match=r"a and b share .*, and only one certificate can be shown there"):
        listeners.open()
