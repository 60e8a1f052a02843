"""Fields are how a node and a holder write things down for each other: `key=value` pairs, each ended by a NUL.

Nothing that a process can be given (arguments, variables, paths) holds a NUL, so nothing needs to be escaped.
"""

Fields = list[tuple[str, str]]


def encode(fields: Fields) -> bytes:
    """Raises ValueError for a value that holds a NUL."""
    lines = [f"{key}={value}" for key, value in fields]
    if any("\0" in line for line in lines):
        raise ValueError("a field cannot hold a NUL")
    return b"".join(line.encode("utf-8", "surrogateescape") + b"\0" for line in lines)


def decode(data: bytes) -> Fields:
    """The fields, in order; NULs behind the last one are padding."""
    texts = (line.decode("utf-8", "surrogateescape") for line in data.split(b"\0") if line)
    return [(key, value) for key, _, value in (text.partition("=") for text in texts)]
