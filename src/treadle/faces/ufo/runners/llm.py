"""The runner that lets a language model choose a device's tools, through any OpenAI-compatible endpoint."""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

from treadle.faces.ufo.runners.dialogue import Dialogue, Stop
from treadle.faces.ufo.runners.endpoint import Endpoint, EndpointFailed
from treadle.faces.ufo.runners.injecting import Unset
from treadle.faces.ufo.runners.options import LlmOptions
from treadle.faces.ufo.runners.toolbox import Toolbox
from treadle.faces.ufo.running import DeviceIO, Outcome, TaskSpec


class Llm:
    """Bounded in rounds, tokens and time; whatever stops the model short of `finish` is a failure that says what.

    `pause` is the first back-off of the endpoint in seconds, `chance` its jitter.
    """

    name = "llm"

    def __init__(
        self,
        options: LlmOptions,
        inject: Mapping[str, Mapping[str, Any]],
        environment: Mapping[str, str],
        *,
        pause: float = 1.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if not options.configured:
            raise ValueError("the llm runner needs [ufo.llm] base_url and model")
        self._options, self._inject, self._environment = options, inject, environment
        self._pause, self._chance = pause, chance

    async def run(self, task: TaskSpec, io: DeviceIO) -> Outcome:
        """The outcome that the model reports. Raises SessionError where the device does not say what tools it has."""
        until = min(io.deadline, asyncio.get_running_loop().time() + self._options.max_seconds)
        time, dialogue = asyncio.timeout_at(until), None
        try:
            endpoint = Endpoint(self._options, self._environment, io.progress, pause=self._pause, chance=self._chance)
            async with time, endpoint:
                box = await Toolbox.open(task, io, self._inject, self._environment)
                dialogue = Dialogue(task, io, box, endpoint, self._options)
                return await dialogue.go()
        except TimeoutError:
            if not time.expired():
                raise
            error = "the session's time was over before the model was finished"
        except (Stop, EndpointFailed, Unset) as stopped:
            error = str(stopped)
        if dialogue is None:
            return Outcome(ok=False, error=error)
        return Outcome(ok=False, error=error, rounds=dialogue.rounds, usage=dialogue.usage)
