"""What came of a tool call: a device says that the tool ran, and only the result says whether it did its work."""

from typing import Any

import msgspec

from treadle.faces.ufo.running import ToolResult

_CODES = ("exit_code", "returncode", "return_code", "exitCode")
_STREAMS = ("stdout", "output")
_SHOWN = 500
"""Characters of what a failed command said that go into its error: the last ones."""


def unwrapped(value: Any) -> Any:
    """A tool's answer without what MCP servers put around it: `{"result": x}`, text content, JSON in a string."""
    match value:
        case {"result": inner, **rest} if not rest:
            return unwrapped(inner)
        case {"content": [{"type": "text", "text": str(text)}], **rest} if not rest.get("structuredContent"):
            return {"error": text} if rest.get("isError") else unwrapped(text)
        case [{"type": "text", "text": str(text)}]:
            return unwrapped(text)
        case str() if value[:1] == "{" and value.rstrip()[-1:] == "}":
            try:
                found = msgspec.json.decode(value)
            except msgspec.DecodeError:
                return value
            # Only a verdict is unpacked; any other JSON is what the tool printed.
            return found if isinstance(found, dict) and ("success" in found or _code(found) is not None) else value
        case _:
            return value


def failure(result: ToolResult) -> str | None:
    """Why the call failed, or None when it did its work."""
    if not result.ok:
        return result.error or _said(unwrapped(result.result)) or f"the device answered {result.status}"
    answer = unwrapped(result.result)
    if not isinstance(answer, dict):
        return result.error or None
    code = _code(answer)
    if code:
        said = _said(answer)
        return f"exit code {code}: {said}" if said else f"exit code {code}"
    if answer.get("success") is False or answer.get("isError") is True:
        return _said(answer) or result.error or "the tool says that it failed"
    if "success" not in answer and code is None and answer.get("error"):
        return _said(answer)
    return result.error or None


def output(result: ToolResult) -> Any:
    """What a person wants to see of an answer: a command's output as text, anything else as it is."""
    answer = unwrapped(result.result)
    if isinstance(answer, dict) and ("success" in answer or _code(answer) is not None):
        for name in _STREAMS:
            if isinstance(text := answer.get(name), str):
                return text.rstrip("\r\n")
    return answer


def _code(answer: dict[str, Any]) -> int | None:
    return next((code for name in _CODES if type(code := answer.get(name)) is int), None)


def _said(answer: Any) -> str:
    """What the tool said of its failure, shortened to its end."""
    if isinstance(answer, dict):
        # What ended a command by force says more than what it had printed until then.
        first = ("stderr", "error") if (_code(answer) or 0) > 0 else ("error", "stderr")
        texts = (answer.get(name) for name in (*first, "message", *_STREAMS))
        answer = next((text for text in texts if isinstance(text, str) and text.strip()), "")
    if not isinstance(answer, str):
        return ""
    text = answer.strip()
    return text if len(text) <= _SHOWN else "…" + text[-_SHOWN:]
