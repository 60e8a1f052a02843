"""One call of a device's tool on somebody's explicit word: told as it happens, judged when it has answered."""

from typing import Any

from msgspec import Struct

from treadle.faces.ufo.runners import verdicts
from treadle.faces.ufo.runners.injecting import Unset
from treadle.faces.ufo.runners.toolbox import Toolbox
from treadle.faces.ufo.running import DeviceIO, SessionError

_SHOWN = 2000
"""Characters of a value that an event shows."""


class Called(Struct, frozen=True):
    """What a call gave: `output` as a person wants it, `answer` as the tool gave it, `error` None when it worked."""

    tool: str
    output: Any
    answer: Any
    error: str | None


async def called(box: Toolbox, io: DeviceIO, name: str, args: dict[str, Any], *, number: int) -> Called:
    """Calls a tool that the device has; whatever goes wrong with it is an error told."""
    await io.progress({"event": "call", "round": number, "tool": name, "args": brief(box.shown(args))})
    try:
        result = await box.call(name, args)
    except Unset as error:
        done = Called(name, None, None, f"{name} cannot be called: {error}")
    except SessionError as error:
        done = Called(name, None, None, box.shown(str(error)))
    else:
        done = Called(name, verdicts.output(result), verdicts.unwrapped(result.result), verdicts.failure(result))
    await io.progress({
        "event": "result", "round": number, "tool": name, "ok": done.error is None,
        "output": brief(done.output), "error": brief(done.error),
    })  # fmt: skip
    return done


def missing(name: str, box: Toolbox) -> str:
    """What a caller of a tool that is not there is told."""
    return f"this device has no tool {name}; it has: {', '.join(sorted(box.tools)) or 'none'}"


def brief(value: Any) -> Any:
    """A JSON value with long texts cut, for an event."""
    match value:
        case str() if len(value) > _SHOWN:
            return f"{value[:_SHOWN]}… ({len(value)} characters)"
        case dict():
            return {name: brief(each) for name, each in list(value.items())[:50]}
        case list():
            return [brief(each) for each in value[:50]]
        case _:
            return value
