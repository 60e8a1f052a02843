"""What a person sets for the runners: which one serves which device, and the language model behind `llm`."""

from typing import Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct, field

Mode = Literal["schema", "tools", "text"]
RunnerName = Literal["auto", "llm", "rules", "script", "echo", "relay"]


class LlmOptions(Struct, frozen=True, kw_only=True):
    """`[ufo.llm]`: any OpenAI-compatible endpoint and how far one session may go with it.

    `base_url` is http or https; without a path `/v1` is meant. `api_key_env` names the environment variable with the
    key; empty: none is sent. `mode` is how actions are chosen: `schema` (the answer is held to a JSON schema),
    `tools` (native tool calls) or `text` (asked for in words only). `max_rounds`, `max_tokens` (of prompts and
    answers together) and `max_seconds` bound a session; `answer_tokens` and `request_seconds` one question to the
    model, `context_characters` what is told it at once. `retries` are for an endpoint that fails, `repairs` for
    answers in a row that cannot be used; after `repeats` times the same step with the same result a model may only
    finish. With `thoughts` a written answer says why before what; very small models do better without, and with
    `act_first`: such a model may finish only after it has called a tool. With `vision` the model is shown
    screenshots.
    """

    base_url: str = ""
    model: str = ""
    api_key_env: str = ""
    mode: Mode = "schema"
    thoughts: bool = True
    act_first: bool = False
    vision: bool = False
    max_rounds: int = 50
    max_tokens: int = 400_000
    max_seconds: float = 1800.0
    answer_tokens: int = 1500
    request_seconds: float = 180.0
    context_characters: int = 60_000
    retries: int = 4
    repairs: int = 2
    repeats: int = 6
    temperature: float | None = None

    @property
    def configured(self) -> bool:
        return bool(self.base_url and self.model)

    def __post_init__(self) -> None:
        if bool(self.base_url) != bool(self.model):
            raise ValueError("[ufo.llm] base_url and model belong together: set both or neither")
        if self.base_url:
            completions_url(self.base_url)
        bounds = (self.max_rounds, self.max_tokens, self.max_seconds, self.answer_tokens, self.request_seconds)
        if min(*bounds, self.context_characters, self.repeats) <= 0 or min(self.retries, self.repairs) < 0:
            raise ValueError("[ufo.llm] limits must be greater than 0, retries and repairs at least 0")


class RunnerOptions(Struct, frozen=True, kw_only=True):
    """Which runner serves which device, and what is added to tool calls.

    A device's own entry in `devices` (client id) wins over its platform's in `platforms` (lower case), and that over
    `default`. `auto` is `llm` where a model is configured, and `rules` elsewhere and for what is a command line or
    a tool call beyond doubt. `inject` maps a tool's name, or `name@client_id` for one device only, to arguments
    that are added to every call and that neither models nor events see; a value `env:NAME` is read from the
    environment. Inject a device's key under `name@client_id`: under the bare name it goes to every device with a
    tool of that name.
    """

    default: RunnerName = "auto"
    platforms: dict[str, RunnerName] = field(default_factory=dict)
    devices: dict[str, RunnerName] = field(default_factory=dict)
    llm: LlmOptions = LlmOptions()
    inject: dict[str, dict[str, Any]] = field(default_factory=dict)


def completions_url(base_url: str) -> str:
    """The address of an endpoint's chat completions. Raises ValueError for a base URL that cannot be one."""
    try:
        parts = urlsplit(base_url)
        _ = parts.port
    except ValueError:
        raise ValueError("[ufo.llm] base_url is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("[ufo.llm] base_url must be http://HOST… or https://HOST…")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("[ufo.llm] base_url takes no user, query or fragment; a key belongs to api_key_env")
    path = parts.path.rstrip("/") or "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}" + ("" if path.endswith("/completions") else "/chat/completions")
