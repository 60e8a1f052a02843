"""Which runner serves which device: the way into this folder."""

import os
from collections.abc import Mapping
from typing import get_args

from treadle.faces.ufo.runners.echo import Echo
from treadle.faces.ufo.runners.llm import Llm
from treadle.faces.ufo.runners.options import RunnerName, RunnerOptions
from treadle.faces.ufo.runners.reading import outright
from treadle.faces.ufo.runners.relay import Relay
from treadle.faces.ufo.runners.rules import Rules
from treadle.faces.ufo.runners.script import Script
from treadle.faces.ufo.running import SessionRunner, TaskSpec


class Choice:
    """The runners as the settings want them. Raises ValueError for settings that contradict themselves."""

    def __init__(self, options: RunnerOptions, environment: Mapping[str, str] = os.environ) -> None:
        named = [options.default, *options.platforms.values(), *options.devices.values()]
        if unknown := set(named) - set(get_args(RunnerName)):
            raise ValueError(f"[ufo] runner must be one of {', '.join(get_args(RunnerName))}, not {min(unknown)}")
        if "llm" in named and not options.llm.configured:
            raise ValueError("[ufo] runner llm needs [ufo.llm] base_url and model")
        self._options = options
        self._rules = Rules(options.inject, environment)
        self._llm = Llm(options.llm, options.inject, environment) if options.llm.configured else None
        self._others: dict[str, SessionRunner] = {
            "rules": self._rules,
            "script": Script(options.inject, environment),
            "echo": Echo(),
            "relay": Relay(),
        }

    def choose(self, task: TaskSpec) -> SessionRunner:
        """The runner of a device: by its id, else by its platform, else the default.

        `auto` leaves to the rules what they understand for sure, even where a model is configured.
        """
        options = self._options
        by_platform = options.platforms.get(task.platform, options.default)
        name = options.devices.get(task.client_id, by_platform)
        if name == "llm" or (name == "auto" and not outright(task.request)):
            return self._llm or self._rules
        return self._others.get(name, self._rules)
