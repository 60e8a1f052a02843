"""The runner of explicit scripts: the request is a JSON list of tool calls, done in order until one fails."""

from collections.abc import Mapping
from typing import Any

import msgspec

from treadle.faces.ufo.runners.calling import called, missing
from treadle.faces.ufo.runners.reading import NamedCall, Unreadable, call_of
from treadle.faces.ufo.runners.toolbox import Toolbox
from treadle.faces.ufo.running import DeviceIO, Outcome, TaskSpec

MOST_CALLS = 1000


class Script:
    """Carries out `[{"tool": NAME, "args": {…}}, …]`; the output is the last call's."""

    name = "script"

    def __init__(self, inject: Mapping[str, Mapping[str, Any]], environment: Mapping[str, str]) -> None:
        self._inject, self._environment = inject, environment

    async def run(self, task: TaskSpec, io: DeviceIO) -> Outcome:
        """Nothing is called unless the device has every tool. Raises SessionError where the device does not say
        what tools it has.
        """
        try:
            calls = read(task.request)
        except Unreadable as error:
            return Outcome(ok=False, error=str(error))
        box = await Toolbox.open(task, io, self._inject, self._environment)
        if absent := next((call.name for call in calls if call.name not in box.tools), None):
            return Outcome(ok=False, error=missing(absent, box))
        rounds: list[dict[str, Any]] = []
        output = None
        for number, call in enumerate(calls, 1):
            done = await called(box, io, call.name, call.args, number=number)
            output = done.output
            rounds.append({"request": call.name, "result": output, "tool": call.name})
            if done.error is not None:
                why = f"call {number} of {len(calls)}, {call.name}: {done.error}"
                return Outcome(ok=False, output=output, error=why, rounds=rounds)
        return Outcome(ok=True, output=output, rounds=rounds)


def read(request: str) -> list[NamedCall]:
    """The calls of a script. Raises Unreadable."""
    try:
        given = msgspec.json.decode(request)
    except msgspec.DecodeError as error:
        raise Unreadable(f"the script is not JSON: {error}") from None
    if not isinstance(given, list) or not 0 < len(given) <= MOST_CALLS:
        raise Unreadable(f"a script is a JSON list of 1 to {MOST_CALLS} tool calls")
    return [call_of(each) for each in given]
