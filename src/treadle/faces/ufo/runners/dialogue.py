"""One session between a model and a device: ask, check, call, tell, until the model is finished or a limit is met."""

import asyncio
import re
from typing import Any

import msgspec

from treadle.faces.ufo.runners import prompts, verdicts
from treadle.faces.ufo.runners.answers import Finish, Nonsense, Plan, Refused, Step, finished, read
from treadle.faces.ufo.runners.calling import brief
from treadle.faces.ufo.runners.conversation import Conversation, Entry, cut, shown
from treadle.faces.ufo.runners.endpoint import Completion, Endpoint, TooLong
from treadle.faces.ufo.runners.injecting import Unset
from treadle.faces.ufo.runners.options import LlmOptions
from treadle.faces.ufo.runners.schema import FINISH, FINISH_SCHEMA, is_strict, parameters, step_schema
from treadle.faces.ufo.runners.seeing import seen
from treadle.faces.ufo.runners.toolbox import Toolbox
from treadle.faces.ufo.running import CommandFailed, DeviceIO, Outcome, SessionError, TaskSpec, Tool, ToolResult

_SKIPPED = "skipped, because an earlier call of the same answer failed"
_UNUSABLE = 1000
"""Characters of an unusable answer that the model is reminded of."""


class Stop(Exception):
    """The session is over without success; the text is its error."""


class Dialogue:
    """`rounds` and `usage` hold what has been done so far, whatever becomes of the rest."""

    def __init__(self, task: TaskSpec, io: DeviceIO, box: Toolbox, endpoint: Endpoint, options: LlmOptions) -> None:
        self.rounds: list[dict[str, Any]] = []
        self.usage: dict[str, Any] = {"model": options.model, "requests": 0, "prompt_tokens": 0,
                                      "completion_tokens": 0, "total_tokens": 0}  # fmt: skip
        self._io, self._box, self._endpoint, self._options = io, box, endpoint, options
        self._tools = {_alias(tool.name): (tool, parameters(tool)) for tool in box.tools.values()}
        self._tools.pop(FINISH, None)
        finish = {FINISH: (Tool(FINISH, description=prompts.ABOUT_FINISH), FINISH_SCHEMA)}
        self._first = _Offer(options, self._tools if options.act_first and self._tools else self._tools | finish)
        self._usual, self._end = _Offer(options, self._tools | finish), _Offer(options, finish)
        self._last, self._same = ("", ""), 0
        system = prompts.system(task, self._tools, options.mode, thoughts=options.thoughts, example=self._example())
        self._said = Conversation(system, task.request, limit=options.context_characters)

    async def go(self) -> Outcome:
        """The outcome that the model reports. Raises Stop, EndpointFailed."""
        for number in range(1, self._options.max_rounds + 1):
            plan = await self._plan(number)
            if (end := await self._carry_out(number, plan)) is not None:
                result = self._box.shown(end.result)
                await self._io.progress(
                    {"event": "finish", "round": number, "ok": end.success, "result": brief(result)}
                )
                error = None if end.success else result or "the model gave up and did not say why"
                return Outcome(ok=end.success, output=result, error=error, rounds=self.rounds, usage=self.usage)
        raise Stop(f"the model was not finished after {self._options.max_rounds} rounds")

    async def _plan(self, number: int) -> Plan:
        """The next steps; an answer that cannot be used is asked for again, a few times in a row."""
        loop = asyncio.get_running_loop()
        for repair in range(self._options.repairs + 1):
            began = loop.time()
            completion = await self._ask()
            cost = {"prompt_tokens": completion.prompt_tokens, "completion_tokens": completion.completion_tokens,
                    "seconds": round(loop.time() - began, 3)}  # fmt: skip
            try:
                plan = read(completion.choice, self._offer.schemas)
            except Refused as refusal:
                raise Stop(f"the model refused: {cut(str(refusal), 500)}") from None
            except Nonsense as nonsense:
                why = self._box.shown(str(nonsense))
                await self._io.progress({"event": "repair", "round": number, "reason": brief(why), **cost})
                if repair == self._options.repairs:
                    raise Stop(
                        f"the model's answers cannot be used, {repair + 1} in a row; the last one: {why}"
                    ) from None
                self._said.add(Entry("assistant", completion.choice.message.text[:_UNUSABLE] or "(nothing usable)"))
                self._said.add(Entry("user", prompts.repair(str(nonsense), self._options.mode)))
                continue
            steps = [{"tool": step.tool, "args": brief(self._box.shown(step.args))} for step in plan.steps]
            thought = brief(self._box.shown(plan.thought))
            await self._io.progress({"event": "round", "round": number, "thought": thought, "steps": steps, **cost})
            return plan
        raise AssertionError("the last repair raises")

    async def _ask(self) -> Completion:
        """One question within the budget; what is too long for the model is shortened and asked again."""
        while True:
            left = self._options.max_tokens - self.usage["total_tokens"]
            if left <= 0:
                raise Stop(f"the session used up its {self._options.max_tokens} tokens")
            self.usage["requests"] += 1
            body = {"messages": self._said.messages(), **self._offer.ways}
            try:
                answer = await self._endpoint.ask(body, answer_tokens=min(self._options.answer_tokens, left))
            except TooLong:
                if not self._said.narrow():
                    raise
                continue
            self.usage["prompt_tokens"] += answer.prompt_tokens
            self.usage["completion_tokens"] += answer.completion_tokens
            self.usage["total_tokens"] += answer.prompt_tokens + answer.completion_tokens
            if answer.estimated:
                self.usage["estimated"] = True
            return answer

    async def _carry_out(self, number: int, plan: Plan) -> Finish | None:
        """Does the steps in order until one fails or is the end, and tells the model what came of each."""
        native = self._options.mode == "tools"
        steps = plan.steps if native else plan.steps[:1]  # whoever writes an answer writes one step
        ids = [step.call_id or f"call_{number}_{place}" for place, step in enumerate(steps, 1)]
        self._said.add(_spoken(plan.thought, steps, ids, native=native))
        failed, pictures = False, list[str]()
        for id, step in zip(ids, steps, strict=True):
            if not failed and (end := finished(step)) is not None:
                return end
            text, images = (_SKIPPED, []) if failed else await self._do(number, step)
            failed = failed or self.rounds[-1]["error"] is not None
            pictures += images
            self._note(step, text)
            text += prompts.after(self._options.mode, circling=self._circling)
            self._said.add(Entry("tool", text, tool_call_id=id) if native else Entry("user", text, images))
        if native and pictures:  # no message may come between the results of one answer
            self._said.add(Entry("user", "The pictures in the last results.", pictures))
        return None

    async def _do(self, number: int, step: Step) -> tuple[str, list[str]]:
        """Calls one tool; gives what the model is told of it, and the pictures."""
        tool = self._tools[step.tool][0].name
        try:
            result = await self._box.call(tool, step.args)
        except Unset as error:
            raise Stop(f"{tool} cannot be called: {error}") from None
        except CommandFailed as error:  # the model may find another way
            result = ToolResult("failure", error=self._box.shown(str(error)))
        except SessionError as error:
            raise Stop(f"{tool}: {self._box.shown(str(error))}") from None
        why, answer = verdicts.failure(result), seen(verdicts.unwrapped(result.result))
        images = answer.images if self._options.vision else []
        output = verdicts.output(msgspec.structs.replace(result, result=answer.value))
        request = f"{tool} {msgspec.json.encode(self._box.shown(step.args)).decode()}"
        self.rounds.append({"request": brief(request), "result": brief(output), "tool": tool, "error": why})
        await self._io.progress({"event": "result", "round": number, "tool": tool, "ok": why is None,
                                 "output": brief(output), "error": brief(why)})  # fmt: skip
        blind = "\n(You cannot see pictures.)" if answer.images and not images else ""
        return prompts.result(step.tool, why, shown(_told(answer.value, output, why))) + blind, images

    @property
    def _offer(self) -> "_Offer":
        """What the model may do now."""
        return self._end if self._circling else self._usual if self.rounds else self._first

    @property
    def _circling(self) -> bool:
        """Whether the model goes round in circles; then it may only finish."""
        return self._same >= self._options.repeats

    def _note(self, step: Step, text: str) -> None:
        """Counts how often the same step had the same result in a row."""
        now = (f"{step.tool} {msgspec.json.encode(step.args, order='sorted').decode()}", text)
        self._last, self._same = now, self._same + 1 if now == self._last else 1

    def _example(self) -> str:
        """A first step with a command, where the device takes commands."""
        found = self._box.command()
        if found is None:
            return ""
        action = {"tool": _alias(found[0].name), "args": {found[1]: "uname -s"}}
        return _written("ask the system for its name" if self._options.thoughts else "", action)


def _told(value: Any, output: Any, why: str | None) -> Any:
    """What the model is shown: a command that worked and did not complain only with what it printed."""
    complained = why is not None or (isinstance(value, dict) and value.get("stderr"))
    return value if complained else output


def _written(thought: str, action: dict[str, Any]) -> str:
    """A step as models write it."""
    step = {"thought": thought, "action": action} if thought else {"action": action}
    return msgspec.json.encode(step).decode()


def _alias(name: str) -> str:
    """A tool's name in the characters that endpoints take for one."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]


class _Offer:
    """Tools that a model may call: the schemas of their arguments, and the part of a request that says how."""

    def __init__(self, options: LlmOptions, tools: dict[str, tuple[Tool, dict[str, Any]]]) -> None:
        self.schemas = {name: schema for name, (_, schema) in tools.items()}
        self.ways: dict[str, Any] = {} if options.temperature is None else {"temperature": options.temperature}
        if options.mode == "schema":
            schema = step_schema(self.schemas, thoughts=options.thoughts)
            form = {"name": "step", "schema": schema, "strict": is_strict(schema)}
            self.ways["response_format"] = {"type": "json_schema", "json_schema": form}
        elif options.mode == "tools":
            self.ways["tools"] = [
                {
                    "type": "function",
                    "function": {"name": name, "description": tool.description[:1000], "parameters": schema},
                }
                for name, (tool, schema) in tools.items()
            ]
            self.ways["tool_choice"] = "required"


def _spoken(thought: str, steps: list[Step], ids: list[str], *, native: bool) -> Entry:
    """The model's own words, tidied, as the next questions repeat them."""
    if not native:
        return Entry("assistant", _written(thought, {"tool": steps[0].tool, "args": steps[0].args}))
    calls = [
        {"id": id, "type": "function",
         "function": {"name": step.tool, "arguments": msgspec.json.encode(step.args).decode()}}
        for id, step in zip(ids, steps, strict=True)
    ]  # fmt: skip
    return Entry("assistant", thought, tool_calls=calls)
