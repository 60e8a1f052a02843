"""Arguments that settings add to a device's tool calls, and how their secrets are kept out of whatever comes back."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = "[hidden]"
FROM_ENVIRONMENT = "env:"
_SECRET_NAME = re.compile(r"key|token|secret|passw|credential|auth", re.IGNORECASE)
_SHORTEST = 4
"""Characters of the shortest secret that is looked for: hiding every `1` would hide nothing."""


class Unset(Exception):
    """An environment variable that settings name is not set."""

    def __init__(self, variable: str) -> None:
        super().__init__(f"the environment variable {variable} that the settings name is not set on the server")


def given(variable: str, environment: Mapping[str, str]) -> str:
    """The value of a variable. Raises Unset."""
    value = environment.get(variable, "").strip()
    if not value:
        raise Unset(variable)
    return value


class Injection:
    """What is added to the calls of one device's tools."""

    def __init__(self, inject: Mapping[str, Mapping[str, Any]], client_id: str, environment: Mapping[str, str]) -> None:
        self._inject, self._client_id, self._environment = inject, client_id, environment

    def names(self, tool: str) -> frozenset[str]:
        """The arguments of a tool that nobody but the settings fills in."""
        return frozenset(self._of(tool))

    def args(self, tool: str) -> dict[str, Any]:
        """The arguments to add. Raises Unset."""
        return {name: self._value(value) for name, value in self._of(tool).items()}

    def secrets(self) -> list[str]:
        """Every added value that must not be seen; a device can show the key of one tool with another."""
        found = []
        for tool in {name.partition("@")[0] for name in self._inject}:
            for name, setting in self._of(tool).items():
                try:
                    value = self._value(setting)
                except Unset:
                    continue  # whoever calls the tool is told
                if isinstance(value, str) and (_SECRET_NAME.search(name) or value != setting):
                    found.append(value)
        return found

    def _of(self, tool: str) -> Mapping[str, Any]:
        return {**self._inject.get(tool, {}), **self._inject.get(f"{tool}@{self._client_id}", {})}

    def _value(self, setting: Any) -> Any:
        if isinstance(setting, str) and setting.startswith(FROM_ENVIRONMENT):
            return given(setting.removeprefix(FROM_ENVIRONMENT), self._environment)
        return setting


def hidden(value: Any, secrets: Iterable[str]) -> Any:
    """A JSON value without the secrets, in keys as in strings."""
    wanted = [secret for secret in secrets if len(secret) >= _SHORTEST]
    return _hidden(value, wanted) if wanted else value


def _hidden(value: Any, secrets: list[str]) -> Any:
    match value:
        case str():
            for secret in secrets:
                value = value.replace(secret, HIDDEN)
            return value
        case dict():
            return {_hidden(key, secrets): _hidden(each, secrets) for key, each in value.items()}
        case list():
            return [_hidden(each, secrets) for each in value]
        case _:
            return value
