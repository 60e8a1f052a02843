"""A device as the stock client is one, spoken by hand from the contract (sections 4 to 6): it registers, echoes what it
is assigned without the session id, runs one frame at a time, and says nothing at all where it does not know a tool.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

SECONDS = 20.0
KEYS = (
    "type", "status", "client_type", "client_id", "target_id", "session_id", "task_name", "request", "action_results",
    "request_id", "prev_response_id", "timestamp", "error", "metadata",
)  # fmt: skip
"""What the stock client writes in every frame, with nulls."""
NOW = "2026-01-05T09:00:00+00:00"

Tool = Callable[[dict[str, Any]], Any]


def execute_command(arguments: dict[str, Any]) -> dict[str, Any]:
    """The stock Linux tool: it reports its own failure inside a result that is a success."""
    done = subprocess.run(
        ["/bin/sh", "-c", arguments["command"]], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    ok = done.returncode == 0
    return {"success": ok, "exit_code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


class Device:
    """A connected device; `heard` is every frame it was sent, in order.

    With `itself` it is no stock device: it declares that it carries out requests itself, and ends them with what that
    gives.
    """

    def __init__(
        self,
        url: str,
        id: str,
        *,
        platform: str = "linux",
        tools: dict[str, Tool] | None = None,
        echoes: bool = True,
        itself: Callable[[str], Any] | None = None,
    ) -> None:
        self.id, self._echoes, self._itself = id, echoes, itself
        self.tools: dict[str, Tool] = tools or {"execute_command": execute_command}
        self.heard: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._open = ExitStack()
        self._socket = self._open.enter_context(
            connect(url, max_size=100 * 2**20, ping_interval=20, ping_timeout=180, proxy=None)
        )
        info: dict[str, Any] = {
            "device_id": id,
            "platform": platform,
            "platform_type": "computer",
            "schema_version": "1.0",
        }
        metadata: dict[str, Any] = {"platform": platform, "registration_time": NOW, "system_info": info}
        if itself:
            metadata["executes_requests"] = True
        self.say(type="register", status="ok", metadata=metadata)
        verdict = json.loads(self._socket.recv(SECONDS))
        assert verdict["status"] == "ok", verdict
        self._thread = threading.Thread(target=self._listen, name=f"device {id}", daemon=True)
        self._thread.start()

    def say(self, **frame: Any) -> None:
        whole = dict.fromkeys(KEYS) | {"client_type": "device", "client_id": self.id, "timestamp": NOW} | frame
        self._socket.send(json.dumps(whole))

    def vanish(self) -> None:
        """Its process is killed: the connection is cut without a word, whatever it is doing."""
        self._socket.socket.shutdown(2)

    def close(self) -> None:
        self._open.close()
        self._thread.join(SECONDS)

    def until(self, kind: str, count: int = 1) -> dict[str, Any]:
        """The frame of this type that came as the count-th."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.all(kind)) >= count, SECONDS), self.heard
        return self.all(kind)[count - 1]

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.heard if frame["type"] == kind]

    def _listen(self) -> None:
        try:
            for text in self._socket:
                frame = json.loads(text)
                with self._news:
                    self.heard.append(frame)
                    self._news.notify_all()
                if frame["type"] == "task" and self._echoes:
                    self.say(
                        type="task", status="continue", task_name=frame["task_name"], request=frame["user_request"]
                    )
                    if self._itself:
                        made = self._itself(frame["user_request"])
                        self.say(type="task_end", status="completed", session_id=frame["session_id"], result=made)
                elif frame["type"] == "command":
                    self._carry_out(frame)
        except (ConnectionClosed, OSError):
            return

    def _carry_out(self, frame: dict[str, Any]) -> None:
        results = []
        for action in frame["actions"]:
            name, arguments = action["tool_name"], action.get("parameters") or {}
            if name != "list_tools" and name not in self.tools:
                return  # it raises inside the stock client, which answers nothing then
            made = self._listed() if name == "list_tools" else self.tools[name](arguments)
            results.append({"status": "success", "result": made, "call_id": action["call_id"], "namespace": "Bash"})
        self.say(
            type="command_results",
            status=frame["status"],
            session_id=frame["session_id"],
            prev_response_id=frame["response_id"],
            action_results=results,
        )

    def _listed(self) -> list[dict[str, Any]]:
        schema = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
        return [
            {"tool_key": f"action::{name}", "tool_name": name, "namespace": "Bash", "tool_type": "action",
             "description": f"The tool {name}", "input_schema": schema}
            for name in self.tools
        ]  # fmt: skip


@contextmanager
def device(url: str, id: str, **more: Any) -> Iterator[Device]:
    """A device while the block runs."""
    made = Device(url, id, **more)
    try:
        yield made
    finally:
        made.close()
