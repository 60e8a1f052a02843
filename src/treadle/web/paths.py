"""Path patterns: segments that are literal, `{name}` for exactly one, or last `{name*}` for whatever remains."""


def segments_of(path: str) -> list[str]:
    return path[1:].split("/") if path != "/" else []


def names_of(path: str) -> tuple[str, ...]:
    """The path parameters in order."""
    return tuple(segment.strip("{}*") for segment in segments_of(path) if segment.startswith("{"))


def check_pattern(what: str, path: str, scope: str) -> None:
    """Raises ValueError, naming `what`, for a pattern that cannot be told apart and for a missing scope."""
    if not scope:
        raise ValueError(f"{what}: a route says who may call it")
    if not path.startswith("/"):
        raise ValueError(f"{what}: a path starts with a slash")
    for segment in segments_of(path)[:-1]:
        if segment.endswith("*}"):
            raise ValueError(f"{what}: only the last segment takes the remainder")
    names = names_of(path)
    if len(set(names)) != len(names):
        raise ValueError(f"{what}: a parameter appears twice")
