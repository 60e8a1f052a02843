"""A bus by its URL: `local:` is this process; `nats://` and `tls://` lead to a NATS server."""

from pathlib import Path

from treadle.core.ports import Bus

from .address import BusAddress
from .local import LocalBus
from .messages import Report, to_log


async def open_bus(url: str, *, name: str, report: Report = to_log, credentials: Path | None = None) -> Bus:
    """Opens the bus under this name, which the server's permissions are about (a node's id, or `server`).

    `nats://host:port`, `tls://host:port?fingerprint=SHA256[,SHA256]` (without a fingerprint the certificate must be one
    that the system trusts; the server needs `handshake_first`). Raises FabricError, with one clear line, within seconds
    where the bus cannot be had; later losses are reported and mended.
    """
    if url == "local:":
        return LocalBus(report=report)
    address = BusAddress(url, credentials)
    from .nats import NatsBus  # nats-py takes long to import

    return await NatsBus.open(address, name=name, report=report)
