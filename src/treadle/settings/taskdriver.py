"""TaskDriver's own environment variables (contract section 11): its address, and those that mean nothing here."""

from collections.abc import Mapping

OTHER_STORAGE = "Treadle keeps tasks in its own store; see --store"
OWN_LOG = "the log is set by TREADLE_LOG_LEVEL and TREADLE_LOG_FORMAT"
IGNORED = {
    "TASKDRIVER_MODE": "HTTP is always served; MCP is `treadle mcp`",
    "TASKDRIVER_STORAGE_PROVIDER": OTHER_STORAGE,
    "TASKDRIVER_STORAGE_CONNECTION_STRING": OTHER_STORAGE,
    "TASKDRIVER_FILE_DATA_DIR": OTHER_STORAGE,
    "TASKDRIVER_FILE_LOCK_TIMEOUT": OTHER_STORAGE,
    "TASKDRIVER_MONGODB_DATABASE": OTHER_STORAGE,
    "TASKDRIVER_MONGODB_OPTIONS": OTHER_STORAGE,
    "TASKDRIVER_REDIS_DATABASE": OTHER_STORAGE,
    "TASKDRIVER_REDIS_KEY_PREFIX": OTHER_STORAGE,
    "TASKDRIVER_REDIS_OPTIONS": OTHER_STORAGE,
    "TASKDRIVER_LOG_LEVEL": OWN_LOG,
    "TASKDRIVER_LOG_PRETTY": OWN_LOG,
    "TASKDRIVER_LOG_CORRELATION": "correlation ids are always logged",
    "TASKDRIVER_API_KEY_LENGTH": "keys are always 43 characters, 256 random bits",
    "TASKDRIVER_MCP_PROMPT_PREFIX": "TaskDriver reads it and never uses it",
    "NODE_ENV": "unexpected errors are never shown to callers, whatever it says",
}
"""Variable -> why it changes nothing."""


def address(environ: Mapping[str, str], otherwise: str) -> tuple[str, str] | None:
    """The address that TASKDRIVER_HOST and TASKDRIVER_PORT ask for, and which of them were set; None if neither was.

    The half that is missing comes from `otherwise`, `HOST:PORT` or `off`.
    """
    host, port = environ.get("TASKDRIVER_HOST", ""), environ.get("TASKDRIVER_PORT", "")
    if not host and not port:
        return None
    known_host, _, known_port = otherwise.rpartition(":")
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    said = " ".join(name for name in ("TASKDRIVER_HOST", "TASKDRIVER_PORT") if environ.get(name))
    return f"{host or known_host or '127.0.0.1'}:{port or known_port or 3000}", said
