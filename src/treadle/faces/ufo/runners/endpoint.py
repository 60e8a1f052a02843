"""An OpenAI-compatible endpoint: one question at a time, asked again with back-off while the endpoint is unwell."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from treadle.faces.ufo.runners.answers import Choice
from treadle.faces.ufo.runners.injecting import given, hidden
from treadle.faces.ufo.runners.options import LlmOptions, completions_url

if TYPE_CHECKING:
    import httpx2

LARGEST = 2 * 2**20
"""Bytes of the largest answer that is read."""
_LONGEST_PAUSE = 60.0
_SHOWN = 300
_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_TOO_LONG = ("context_length", "exceed_context", "context size", "context length", "context window", "too many tokens")
_LOCAL = ("localhost", "127.0.0.1", "::1")
Told = Callable[[dict[str, Any]], Awaitable[None]]


class EndpointFailed(Exception):
    """The endpoint gave no usable answer; the text says what happened and holds no secret."""


class TooLong(EndpointFailed):
    """The endpoint says that it was sent more than its model reads at once."""


class _Unwell(Exception):
    """This attempt failed; the next may not. `pause` is what the endpoint asked for, in seconds."""

    def __init__(self, reason: str, *, pause: float = 0, slow: bool = False) -> None:
        self.reason, self.pause, self.slow = reason, pause, slow
        super().__init__(reason)


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Body(Struct):
    choices: list[Any] | None = None
    usage: _Usage | None = None
    error: Any = None


class Completion(Struct, frozen=True):
    """An answer and what it cost; `estimated` where the endpoint did not count (a token is taken as four bytes)."""

    choice: Choice
    prompt_tokens: int
    completion_tokens: int
    estimated: bool


class Endpoint:
    """One session's connection. `told` hears of each attempt that failed; `pause` is the first back-off in seconds and
    `chance` gives its jitter, from 0 to 1. Raises Unset when the key's variable is not set.
    """

    def __init__(
        self,
        options: LlmOptions,
        environment: Mapping[str, str],
        told: Told,
        *,
        pause: float = 1.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._options, self._told, self._pause, self._chance = options, told, pause, chance
        self._url = completions_url(options.base_url)
        self._where = f"the model endpoint at {urlsplit(self._url).netloc}"
        self._key = given(options.api_key_env, environment) if options.api_key_env else ""
        self._limit = "max_tokens"
        self._http: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> "Endpoint":
        # Importing the client and reading certificates takes 200 ms: not on the event loop.
        self._http = await asyncio.to_thread(_client, self._url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    async def ask(self, body: dict[str, Any], *, answer_tokens: int) -> Completion:
        """The model's answer. Raises EndpointFailed."""
        attempt = slow = 0
        while True:
            content = msgspec.json.encode({"model": self._options.model, **body, self._limit: answer_tokens})
            try:
                status, headers, answer = await self._post(content)
                if status == 400 and b"max_completion_tokens" in answer and self._limit == "max_tokens":
                    self._limit = "max_completion_tokens"  # newer models of OpenAI know only this name
                    continue
                return self._completion(status, headers, answer, len(content))
            except _Unwell as error:
                attempt, slow = attempt + 1, slow + error.slow
                if attempt > self._options.retries or slow > 1:
                    raise self._failed(f"{error.reason} ({attempt} attempts)") from None
                pause = error.pause or self._pause * 2 ** (attempt - 1) * (0.5 + self._chance() / 2)
                pause = min(pause, _LONGEST_PAUSE)
                reason = hidden(error.reason, [self._key])
                await self._told({"event": "retry", "attempt": attempt, "reason": reason, "seconds": round(pause, 2)})
                await asyncio.sleep(pause)

    async def _post(self, content: bytes) -> tuple[int, Mapping[str, str], bytes]:
        import httpx2

        assert self._http is not None, "the endpoint is used inside `async with`"
        # A compressed answer could be larger than it looks.
        headers = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        time = asyncio.timeout(self._options.request_seconds)
        try:
            async with time, self._http.stream("POST", self._url, content=content, headers=headers) as answer:
                return answer.status_code, answer.headers, await self._read(answer)
        except TimeoutError:
            if not time.expired():
                raise
            raise _Unwell(f"no answer in {self._options.request_seconds:g} s", slow=True) from None
        except httpx2.TransportError as error:
            raise _Unwell(f"{type(error).__name__}: {error}"[:_SHOWN]) from None
        except (UnicodeError, httpx2.InvalidURL):
            raise self._failed("the key or the address holds characters that no header may") from None

    async def _read(self, answer: "httpx2.Response") -> bytes:
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise self._failed("it compressed its answer although it was asked not to")
        read = bytearray()
        async for part in answer.aiter_raw():
            read += part
            if len(read) > LARGEST:
                raise self._failed(f"its answer is larger than {LARGEST // 2**20} MiB")
        return bytes(read)

    def _completion(self, status: int, headers: Mapping[str, str], answer: bytes, sent: int) -> Completion:
        if 300 <= status < 400:
            raise self._failed(f"it redirects (HTTP {status}), and redirects are not followed: correct base_url")
        if status != 200:
            self._refuse(status, headers, answer)
        try:
            body = msgspec.json.decode(answer, type=_Body)
            if body.error:
                self._refuse(status, headers, answer)
            if not body.choices:
                raise _Unwell("the answer holds no choices")
            choice = msgspec.convert(body.choices[0], Choice)
        except (msgspec.DecodeError, RecursionError):
            raise _Unwell("the answer is no chat completion") from None
        usage = body.usage or _Usage()
        estimated = usage.prompt_tokens is None or usage.completion_tokens is None
        prompt = sent // 4 if usage.prompt_tokens is None else usage.prompt_tokens
        completion = len(answer) // 4 if usage.completion_tokens is None else usage.completion_tokens
        return Completion(choice, max(0, prompt), max(0, completion), estimated)

    def _refuse(self, status: int, headers: Mapping[str, str], answer: bytes) -> None:
        """Raises what an answer other than a completion means."""
        why = _said(answer)
        if status in _AGAIN:
            raise _Unwell(f"HTTP {status}: {why}", pause=_seconds(headers.get("retry-after", "")))
        if any(words in why.lower() for words in _TOO_LONG):
            raise TooLong(self._failed(f"HTTP {status}: {why}").args[0])
        raise self._failed(f"HTTP {status}: {why}" if status != 200 else why)

    def _failed(self, reason: str) -> EndpointFailed:
        return EndpointFailed(hidden(f"{self._where} failed: {reason}", [self._key]))


def _client(url: str) -> "httpx2.AsyncClient":
    import httpx2

    local = urlsplit(url).hostname in _LOCAL
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(None, connect=10.0),  # the whole request has a limit of its own
        follow_redirects=False,
        trust_env=not local,  # no proxy stands between a machine and itself
    )


def _said(answer: bytes) -> str:
    """What an error's body says, in one short line."""
    text = answer[: 4 * _SHOWN].decode("utf-8", "replace")
    try:
        match msgspec.json.decode(answer):
            case {"error": {"message": str(message)}} | {"error": str(message)} | {"message": str(message)}:
                text = message
    except (msgspec.DecodeError, RecursionError):
        pass  # it is shown as it is
    return " ".join(text.split())[:_SHOWN] or "no explanation"


def _seconds(header: str) -> float:
    """A Retry-After in seconds; 0 where it is a date or nothing."""
    return float(header) if header.isascii() and header.isdigit() else 0.0
