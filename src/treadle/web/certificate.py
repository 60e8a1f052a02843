"""The certificate that a TLS listener shows when nobody gave it one: made once, signed by itself, kept private."""

import datetime
import hashlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

YEARS = 10
NAMES = ("localhost", "127.0.0.1", "::1")
DAY = datetime.timedelta(days=1)


def ensure_certificate(certificate: Path, key: Path, *, now: datetime.datetime, names: Iterable[str] = ()) -> bool:
    """Makes the pair of PEM files (mode 0600) unless both are there; whether it did.

    It is for localhost, this machine's name and `names` (host names and IP literals), from the day before `now` (UTC)
    on, for ten years. The folder has to exist. Raises OSError if it cannot be written.
    """
    if certificate.exists() and key.exists():
        return False
    made, secret = _self_signed([*NAMES, socket.gethostname(), *names], now)
    _write(key, secret)  # first: with the certificate there the pair is complete
    _write(certificate, made)
    return True


def fingerprint(certificate: Path) -> str:
    """The SHA-256 of the first certificate in a PEM file, in lower-case hexadecimal: what a client pins."""
    pem = certificate.read_text()
    end = pem.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem[pem.index(ssl.PEM_HEADER) : end])).hexdigest()


def _self_signed(names: Iterable[str], now: datetime.datetime) -> tuple[bytes, bytes]:
    # imported here: it is needed once in the life of a home
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Treadle")])
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + 365 * YEARS * DAY)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in dict.fromkeys(names) if name]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), secret


def _general(name: str) -> "x509.GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode())


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, and never readable by others."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
