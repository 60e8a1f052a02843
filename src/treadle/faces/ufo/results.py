"""How a session ended: what its runner gave, and the object that callers read of it (spec 2.3)."""

from typing import Any

from treadle.core.tasks import FINAL, Result, Task
from treadle.faces.ufo.running import Outcome

UNEXPLAINED = "The session failed without saying why"
LOST = "The server that ran this session stopped before the session was over"
OWN = frozenset({"status", "output", "error", "session_id", "task_name", "client_id", "rounds", "usage"})
"""The result's own keys; where a runner's output has one of them too, it stands under `output` alone."""


def result_of(outcome: Outcome) -> Result:
    """What a task's holder hands in. A failure always says why."""
    output = {"output": outcome.output, "rounds": outcome.rounds, "usage": outcome.usage}
    error = None if outcome.ok else outcome.error or UNEXPLAINED
    return Result(ok=outcome.ok, output=output, error=error, retry=False)


def shown(task: Task) -> dict[str, Any] | None:
    """The result, never empty; None while there is none. However a task failed, it has one that says why.

    What the runner gave stands under `output`, and where that is an object its keys are the result's too.
    """
    if task.state not in FINAL:
        return None
    result = task.result or Result(ok=False)
    kept = result.output if isinstance(result.output, dict) else {"output": result.output}
    output = kept.get("output")
    told: dict[str, Any] = {"status": "completed" if task.state == "succeeded" else "failed", "output": output}
    if task.state != "succeeded":
        told["error"] = LOST if result.reason == "lost" else result.error or UNEXPLAINED
    told |= {name: task.variables.get(name) for name in ("session_id", "task_name", "client_id")}
    told |= {name: kept[name] for name in ("rounds", "usage") if kept.get(name)}
    if isinstance(output, dict):
        told |= {name: value for name, value in output.items() if name not in OWN}
    return told
