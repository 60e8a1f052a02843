"""The loop with a model, against a scripted endpoint: what goes well, and every way in which it does not."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import threading
from typing import Any

import pytest

from tests.faces.ufo.runners import scripted
from tests.faces.ufo.runners.scripted import (
    ENVIRONMENT,
    INJECT,
    SECRET,
    Answer,
    Device,
    calls,
    does,
    finish,
    ran,
    says,
    task,
)
from treadle.faces.ufo.runners import endpoint as endpoint_module
from treadle.faces.ufo.runners.llm import Llm
from treadle.faces.ufo.runners.options import LlmOptions
from treadle.faces.ufo.running import (
    CommandFailed,
    CommandTimeout,
    DeviceGone,
    Outcome,
    SessionError,
    Tool,
    ToolCall,
    ToolResult,
)

KEY = ENVIRONMENT["MODEL_KEY"]


def runner(url: str, **options: Any) -> Llm:
    given = {"api_key_env": "MODEL_KEY", "retries": 2, "max_rounds": 6, **options}
    return Llm(LlmOptions(base_url=url, model="m", **given), INJECT, ENVIRONMENT, pause=0.001, chance=lambda: 1.0)


async def run(device: Device, *answers: Answer, **options: Any) -> tuple[Outcome, scripted.Endpoint]:
    async with scripted.endpoint(*answers) as endpoint:
        outcome = await runner(endpoint.url, **options).run(task("Which OS is this?"), device)
    seen = str(outcome) + str(device.facts)
    assert SECRET not in seen + str(endpoint.asked)
    assert KEY not in seen
    return outcome, endpoint


async def test_a_request_is_carried_out() -> None:
    device = Device(lambda _: ran("Linux\n"))
    outcome, endpoint = await run(device, does("execute_command", command="uname -s"), finish("It is Linux."))
    assert (outcome.ok, outcome.output, outcome.error) == (True, "It is Linux.", None)
    assert device.calls == [ToolCall("execute_command", {"command": "uname -s", "api_key": SECRET})]
    assert outcome.rounds == [
        {
            "request": 'execute_command {"command":"uname -s"}',
            "result": "Linux",
            "tool": "execute_command",
            "error": None,
        }
    ]
    assert outcome.usage == {
        "model": "m",
        "requests": 2,
        "prompt_tokens": 200,
        "completion_tokens": 20,
        "total_tokens": 220,
    }
    assert [fact["event"] for fact in device.facts] == ["round", "result", "round", "finish"]
    assert endpoint.paths == ["/v1/chat/completions"] * 2
    assert endpoint.headers[0]["authorization"] == f"Bearer {KEY}"


async def test_the_model_is_held_to_the_devices_tools() -> None:
    _, endpoint = await run(Device(), finish("ok"))
    form = endpoint.asked[0]["response_format"]["json_schema"]
    [command, _] = form["schema"]["properties"]["action"]["anyOf"]
    assert list(command["properties"]["args"]["properties"]) == ["command", "timeout"]
    assert form["strict"] is False  # `timeout` need not be given
    assert endpoint.asked[0]["messages"][1] == {"role": "user", "content": "Which OS is this?"}
    assert endpoint.asked[0]["max_tokens"] == 1500


async def test_roles_take_turns_and_results_come_back() -> None:
    _, endpoint = await run(
        Device(lambda _: ran("", 2, "no such thing")), does("execute_command", command="x"), finish("ok")
    )
    roles = [message["role"] for message in endpoint.asked[1]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    told = endpoint.asked[1]["messages"][-1]["content"]
    assert told.startswith("execute_command FAILED: exit code 2: no such thing")


async def test_a_model_that_gives_up_has_failed() -> None:
    outcome, _ = await run(Device(), finish("there is no such program", success=False))
    assert (outcome.ok, outcome.error) == (False, "there is no such program")


async def test_native_tool_calls() -> None:
    device = Device()
    outcome, endpoint = await run(
        device,
        calls(("execute_command", {"command": "a"}), ("execute_command", {"command": "b"})),
        calls(("finish", {"success": True, "result": "both"})),
        mode="tools",
    )
    assert outcome.output == "both"
    assert [call.args["command"] for call in device.calls] == ["a", "b"]
    assert [tool["function"]["name"] for tool in endpoint.asked[0]["tools"]] == ["execute_command", "finish"]
    assert (endpoint.asked[0]["tool_choice"], "response_format" in endpoint.asked[0]) == ("required", False)
    said = endpoint.asked[1]["messages"][2:]
    assert [(one["role"], one.get("tool_call_id")) for one in said] == [
        ("assistant", None),
        ("tool", "id0"),
        ("tool", "id1"),
    ]


async def test_native_calls_after_a_failed_one_are_skipped() -> None:
    device = Device(lambda _: ran("", 1, "no"))
    first = calls(("execute_command", {"command": "a"}), ("finish", {"success": True, "result": "did it"}))
    outcome, endpoint = await run(device, first, calls(("finish", {"success": False, "result": "no"})), mode="tools")
    assert not outcome.ok
    assert "skipped" in endpoint.asked[1]["messages"][-1]["content"]


async def test_text_mode_asks_in_words_only() -> None:
    outcome, endpoint = await run(
        Device(), says('Well: {"tool": "finish", "args": {"success": true, "result": "ok"}}'), mode="text"
    )
    assert outcome.output == "ok"
    assert not {"response_format", "tools"} & endpoint.asked[0].keys()


NONSENSE = {
    "prose": says("I have done it for you."),
    "empty": says(""),
    "nothing": says(None),
    "wrong schema": says({"thought": "t", "action": {"tool": "execute_command", "args": {"command": 7}}}),
    "unknown tool": does("format_disk", disk="C"),
    "cut off": says('{"thought": "t", "act', finish_reason="length"),
    "broken arguments": calls(("execute_command", '{"command": "a')),
    "the key itself": does("execute_command", command="x", api_key="guess"),
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
async def test_nonsense_is_repaired(answer: Answer) -> None:
    device = Device()
    outcome, endpoint = await run(device, answer, answer, finish("better"))
    assert outcome.output == "better"
    assert device.calls == []
    assert len(device.events("repair")) == 2
    assert "cannot be used" in endpoint.asked[1]["messages"][-1]["content"]
    assert outcome.usage["requests"] == 3


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
async def test_nonsense_without_an_end_is_an_honest_failure(answer: Answer) -> None:
    device = Device()
    outcome, endpoint = await run(device, answer)
    assert not outcome.ok
    assert str(outcome.error).startswith("the model's answers cannot be used, 3 in a row; the last one:")
    assert (device.calls, len(endpoint.asked)) == ([], 3)


async def test_repairs_are_counted_in_a_row() -> None:
    bad, good = says("?"), does("execute_command", command="x")
    outcome, _ = await run(Device(), bad, bad, good, bad, bad, finish("ok"))
    assert outcome.ok


async def test_a_refusal_is_final() -> None:
    outcome, endpoint = await run(Device(), says(None, refusal="I will not."))
    assert (outcome.ok, outcome.error, len(endpoint.asked)) == (False, "the model refused: I will not.", 1)


UNWELL = {
    "429": Answer({"error": {"message": "slow down"}}, 429, {"retry-after": "0"}),
    "500": Answer("oops", 500),
    "503": Answer("", 503),
    "not JSON": Answer("<html>"),
    "no object": Answer("[]"),
    "deep": Answer("[" * 100_000),
    "no choices": Answer({"choices": []}),
    "odd choice": Answer({"choices": [7]}),
    "cut short": Answer("{", cut=True),
}


@pytest.mark.parametrize("answer", UNWELL.values(), ids=UNWELL)
async def test_an_endpoint_that_is_unwell_is_asked_again(answer: Answer) -> None:
    device = Device()
    outcome, _ = await run(device, answer, answer, finish("well again"))
    assert outcome.output == "well again"
    assert [fact["seconds"] for fact in device.events("retry")] == [0.0, 0.0]
    assert outcome.usage["requests"] == 1


@pytest.mark.parametrize("answer", UNWELL.values(), ids=UNWELL)
async def test_an_endpoint_that_stays_unwell_is_a_failure(answer: Answer) -> None:
    outcome, _ = await run(Device(), answer)
    assert not outcome.ok
    assert "failed: " in str(outcome.error)
    assert "(3 attempts)" in str(outcome.error)


async def test_the_back_off_grows_and_heeds_retry_after() -> None:
    async with scripted.endpoint(
        Answer("", 500), Answer("", 500), Answer("", 429, {"retry-after": "1"}), finish("ok")
    ) as end:
        options = LlmOptions(base_url=end.url, model="m", retries=3)
        device = Device()
        assert (await Llm(options, {}, {}, pause=0.01, chance=lambda: 1.0).run(task("x"), device)).ok
    assert [fact["seconds"] for fact in device.events("retry")] == [0.01, 0.02, 1.0]
    assert "authorization" not in end.headers[0]


FINAL = {
    "no such key": (Answer({"error": {"message": f"bad key {KEY}"}}, 401), "HTTP 401: bad key [hidden]"),
    "no such model": (Answer({"error": "no model m"}, 404), "HTTP 404: no model m"),
    "bad request": (Answer({"message": "response_format is not supported"}, 400), "response_format is not supported"),
    "error in a 200": (Answer({"error": {"message": "overdrawn"}}), "failed: overdrawn"),
    "redirect": (Answer("", 307, {"location": "http://127.0.0.1:1/"}), "redirects are not followed"),
    "huge": (Answer('{"choices": [', endless=True), "larger than 2 MiB"),
    "compressed": (Answer(gzip.compress(b"{}"), headers={"content-encoding": "gzip"}), "compressed"),
    "too long": (Answer({"error": {"message": "maximum context length is 5"}}, 400), "maximum context length"),
}


@pytest.mark.parametrize(("answer", "why"), FINAL.values(), ids=FINAL)
async def test_what_will_not_get_better_is_final(answer: Answer, why: str) -> None:
    outcome, endpoint = await run(Device(), answer)
    assert not outcome.ok
    assert why in str(outcome.error)
    assert "the model endpoint at 127.0.0.1:" in str(outcome.error)
    assert len(endpoint.asked) == 1


async def test_nobody_listens() -> None:
    async with scripted.endpoint(finish("ok")) as endpoint:
        url = endpoint.url
    outcome = await runner(url).run(task("x"), Device())
    assert not outcome.ok
    assert "ConnectError" in str(outcome.error)


async def test_a_slow_endpoint_is_given_up_after_two_tries() -> None:
    outcome, endpoint = await run(Device(), Answer(hangs=True), request_seconds=0.05, retries=9)
    assert not outcome.ok
    assert "no answer in 0.05 s (2 attempts)" in str(outcome.error)
    assert len(endpoint.asked) == 2


async def test_the_session_has_an_end() -> None:
    for device, options in ((Device(), {"max_seconds": 0.2}), (Device(seconds=0.2), {})):
        outcome, _ = await run(device, Answer(hangs=True), **options)
        assert (outcome.ok, outcome.error) == (False, "the session's time was over before the model was finished")


async def test_a_model_that_never_finishes_is_stopped() -> None:
    device = Device(lambda call: ran(str(len(device.calls))))
    outcome, _ = await run(device, does("execute_command", command="again"), max_rounds=4)
    assert (outcome.ok, outcome.error) == (False, "the model was not finished after 4 rounds")
    assert len(device.calls) == len(outcome.rounds) == 4


async def test_a_model_that_goes_in_circles_may_only_finish() -> None:
    again = does("execute_command", command="uname")
    outcome, endpoint = await run(Device(), again, again, finish("enough"), repeats=2)
    assert outcome.output == "enough"
    [only] = endpoint.asked[2]["response_format"]["json_schema"]["schema"]["properties"]["action"]["anyOf"]
    assert only["properties"]["tool"]["enum"] == ["finish"]
    outcome, _ = await run(Device(), again, repeats=2)
    assert "there is no tool 'execute_command' now; there are: finish" in str(outcome.error)


async def test_a_model_that_must_act_first_is_not_offered_the_end() -> None:
    device = Device()
    acts = does("execute_command", command="x")
    outcome, endpoint = await run(device, finish("I did it"), acts, finish("ok"), act_first=True, thoughts=False)
    assert outcome.output == "ok"
    assert device.events("repair")[0]["reason"] == "there is no tool 'finish' now; there are: execute_command"
    schemas = [asked["response_format"]["json_schema"]["schema"]["properties"] for asked in endpoint.asked]
    assert [len(one["action"]["anyOf"]) for one in schemas] == [1, 1, 2]
    assert "thought" not in schemas[0]
    assert "thought" not in endpoint.asked[0]["messages"][0]["content"]
    outcome, _ = await run(Device(tools=()), finish("nothing to do"), act_first=True)
    assert outcome.ok


async def test_the_tokens_have_an_end() -> None:
    device = Device()
    outcome, endpoint = await run(device, does("execute_command", command="x"), max_tokens=300, repeats=99)
    assert (outcome.ok, outcome.error) == (False, "the session used up its 300 tokens")
    assert len(endpoint.asked) == 3
    assert endpoint.asked[2]["max_tokens"] == 80


async def test_tokens_that_nobody_counted_are_estimated() -> None:
    body = finish("ok").body
    assert isinstance(body, dict)
    outcome, _ = await run(Device(), Answer({"choices": body["choices"]}))
    assert outcome.usage["estimated"] is True
    assert outcome.usage["total_tokens"] > 100


async def test_what_is_too_long_is_shortened() -> None:
    device = Device(lambda call: ran(f"{len(device.calls)}" * 11_000))
    full = Answer({"error": {"message": "the request exceeds the available context size"}}, 400)
    outcome, endpoint = await run(
        device, does("execute_command", command="x"), does("execute_command", command="y"), full, full, finish("ok")
    )
    assert outcome.ok
    sizes = [len(json.dumps(asked["messages"])) for asked in endpoint.asked]
    assert sizes[2] > sizes[3] > sizes[4]
    assert endpoint.asked[4]["messages"][1]["content"] == "Which OS is this?"


async def test_newer_models_have_another_name_for_the_limit() -> None:
    refusal = Answer({"error": {"message": "Use 'max_completion_tokens' instead."}}, 400)
    outcome, endpoint = await run(Device(), refusal, finish("ok"))
    assert outcome.ok
    assert ("max_tokens" in endpoint.asked[1], endpoint.asked[1]["max_completion_tokens"]) == (False, 1500)


PICTURE = "iVBORw0KGgo" + "A" * 200


@pytest.mark.parametrize("mode", ["schema", "tools"])
@pytest.mark.parametrize("vision", [True, False])
async def test_screenshots_are_shown_to_a_model_that_sees(mode: str, vision: bool) -> None:
    device = Device(lambda _: ToolResult("success", PICTURE), (Tool("capture_screenshot", "data_collection"),))
    first, last = (
        (does("capture_screenshot"), finish("a desk"))
        if mode == "schema"
        else (calls(("capture_screenshot", {})), calls(("finish", {"success": True, "result": "a desk"})))
    )
    outcome, endpoint = await run(device, first, last, vision=vision, mode=mode)
    assert outcome.output == "a desk"
    assert (PICTURE in json.dumps(endpoint.asked[1])) is vision
    assert PICTURE not in str(outcome) + str(device.facts)
    if vision:
        assert (
            endpoint.asked[1]["messages"][-1]["content"][-1]["image_url"]["url"] == f"data:image/png;base64,{PICTURE}"
        )


async def test_pictures_come_after_all_results_of_an_answer() -> None:
    device = Device(lambda _: ToolResult("success", PICTURE), (Tool("look"),))
    end = calls(("finish", {"success": True, "result": "ok"}))
    _, endpoint = await run(device, calls(("look", {}), ("look", {})), end, mode="tools", vision=True)
    roles = [message["role"] for message in endpoint.asked[1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool", "user"]
    assert len(endpoint.asked[1]["messages"][-1]["content"]) == 3


async def test_native_calls_that_nobody_asked_for_are_one_step_at_a_time() -> None:
    device = Device()
    two = calls(("execute_command", {"command": "a"}), ("execute_command", {"command": "b"}))
    _, endpoint = await run(device, two, finish("ok"))
    assert [call.args["command"] for call in device.calls] == ["a"]
    assert "tool_calls" not in json.dumps(endpoint.asked[1])


@pytest.mark.parametrize("fault", [DeviceGone("gone"), CommandTimeout("no answer in 300 s")])
async def test_a_device_that_is_lost_ends_the_session_with_what_was_done(fault: SessionError) -> None:
    def breaks(call: ToolCall) -> ToolResult:
        if call.args["command"] == "b":
            raise fault
        return ran("a")

    outcome, _ = await run(Device(breaks), does("execute_command", command="a"), does("execute_command", command="b"))
    assert (outcome.ok, outcome.error) == (False, f"execute_command: {fault}")
    assert len(outcome.rounds) == 1
    assert outcome.usage["requests"] == 2


async def test_a_command_that_the_device_refuses_is_told_to_the_model() -> None:
    def refuses(_: ToolCall) -> ToolResult:
        raise CommandFailed("no such tool set")

    outcome, endpoint = await run(Device(refuses), does("execute_command", command="a"), finish("no", success=False))
    assert not outcome.ok
    assert "FAILED: no such tool set" in endpoint.asked[1]["messages"][-1]["content"]


async def test_a_tools_own_finish_and_odd_names_do_not_get_in_the_way() -> None:
    device = Device(lambda _: ran("ok"), (Tool("finish"), Tool("my tool/ü"), Tool("x" * 90)))
    outcome, _ = await run(device, does("my_tool__"), finish("ok"))
    assert outcome.ok
    assert device.calls == [ToolCall("my tool/ü", {})]


@pytest.mark.parametrize("environment", [{}, {"MODEL_KEY": "  "}])
async def test_a_key_that_is_not_set_is_named(environment: dict[str, str]) -> None:
    options = LlmOptions(base_url="http://127.0.0.1:1", model="m", api_key_env="MODEL_KEY")
    outcome = await Llm(options, {}, environment).run(task("x"), Device())
    assert (outcome.ok, "MODEL_KEY" in str(outcome.error)) == (False, True)


async def test_a_key_that_no_header_may_hold_is_not_shown() -> None:
    options = LlmOptions(base_url="http://127.0.0.1:1", model="m", api_key_env="K")
    for key in ("schlüssel-4711", "two\r\nlines-4711"):
        outcome = await Llm(options, {}, {"K": key}, pause=0.001).run(task("x"), Device())
        assert not outcome.ok
        assert "4711" not in str(outcome)


async def test_cancelling_the_runner_is_let_through() -> None:
    async with scripted.endpoint(Answer(hangs=True)) as endpoint:
        running = asyncio.create_task(runner(endpoint.url).run(task("x"), Device()))
        await endpoint.first.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_the_client_is_made_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing the HTTP client and reading certificates takes 200 ms."""
    threads: list[int] = []
    made = endpoint_module._client

    def make(url: str) -> Any:
        threads.append(threading.get_ident())
        return made(url)

    monkeypatch.setattr(endpoint_module, "_client", make)
    outcome, _ = await run(Device(), finish("ok"))
    assert outcome.ok
    assert threads
    assert threads[0] != threading.get_ident()


def test_the_client_is_imported_only_when_it_is_needed() -> None:
    check = "import sys, treadle.faces.ufo.runners.choosing; sys.exit('httpx2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
