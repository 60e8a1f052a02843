"""The 23 tools of TaskDriver's MCP server as actions: the verbs of its HTTP API by name (contract 12).

A tool acts in this face's name, so what it makes looks the same over HTTP, task ids that clients chose included.
"""

from treadle.core.actions import Action
from treadle.core.clock import Clock
from treadle.core.projects import Policy

from . import leases, projects, task_types, tasks, working

__all__ = ["tools"]


def tools(clock: Clock, policy: Policy) -> list[Action]:
    """All of them, in the contract's order; `policy` is what a new project gets where its maker is silent."""
    return [
        *projects.actions(policy),
        *task_types.actions(),
        *tasks.actions(),
        *working.actions(),
        *leases.actions(clock),
    ]
