"""How a command ends that could not do what it was asked: one line that says what to do, and a code."""

from treadle.client.errors import ClientError, NoServer, Refused, Unauthenticated, Unreachable

from . import Stop

FAILED, USAGE, NO_SERVER = 1, 2, 3


def stop(error: ClientError) -> Stop:
    """The end of the program for this error."""
    if isinstance(error, NoServer | Unreachable):
        return Stop(f"{error}; is `treadle up` running?" if isinstance(error, Unreachable) else str(error), NO_SERVER)
    if isinstance(error, Unauthenticated):
        return Stop(f"{error.message} (the command line shows the key in TREADLE_KEY, or the home's own)", FAILED)
    if isinstance(error, Refused):
        return Stop("; ".join(f"{it.field}: {it.message}" for it in error.faults) or error.message, FAILED)
    return Stop(str(error), FAILED)
