"""The commands that speak with a server: projects, types, tasks, status."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.calling import Terminal
from tests.faces.fabric.serving import VERSION, Served, served
from treadle.cli import Stop
from treadle.cli.printing import visible
from treadle.cli.submitting import moment, variable
from treadle.client import Worker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("cli")) as running:
        running.announce()
        yield running


@pytest.fixture
def treadle(
    server: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:  # fmt: skip
    monkeypatch.setenv("TREADLE_HOME", str(server.home))
    monkeypatch.setenv("COLUMNS", "200")
    return Terminal(monkeypatch, capsys)


@pytest.fixture
def project(treadle: Terminal, request: pytest.FixtureRequest) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]", "-", request.node.name)[:100]
    treadle("projects", "create", name)
    return name


def test_status(treadle: Terminal, server: Served, project: str) -> None:
    said = treadle("status")
    assert re.search(rf"^fabric +{re.escape(server.url)}$", said.out, re.MULTILINE)
    assert re.search(rf"^{project} +active +0 ", said.out, re.MULTILINE)
    told = treadle("status", "--json").json
    assert (told["server"]["version"], told["server"]["listeners"]) == (VERSION, {"fabric": server.url})
    assert project in {each["name"] for each in told["projects"]}


def test_projects(treadle: Terminal) -> None:
    made = treadle("projects", "create", "looms", "--lease", "2.5", "--max-retries", "0", "--json").json
    assert (made["name"], made["policy"]["lease"], made["policy"]["max_retries"]) == ("looms", 2.5, 0)
    assert treadle("projects", "close", "looms").out == "project looms is closed\n"
    assert "looms" not in treadle("projects").out
    assert "looms" in treadle("projects", "list", "--state", "closed").out
    assert treadle("projects", "reopen", "looms").out == "project looms is active\n"
    assert treadle("projects", "change", "looms", "--description", "all of them").code == 0
    shown = treadle("projects", "show", "looms").out
    assert re.search(r"^description +all of them$", shown, re.MULTILINE)
    assert re.search(r"^lease +2.5 s$", shown, re.MULTILINE)
    assert re.search(r"^claimable now +0$", treadle("projects", "stats", "looms").out, re.MULTILINE)
    refused = treadle("projects", "delete", "looms", code=2)
    assert refused.err == "treadle: 0 tasks of looms would be lost; say --yes to delete it\n"
    assert treadle("projects", "delete", "looms", "--yes").out == "project looms deleted\n"
    assert treadle("projects", "show", "looms", code=1).err == "treadle: Project looms not found\n"


def test_types(treadle: Terminal, project: str, tmp_path: Path) -> None:
    template = tmp_path / "template.txt"
    template.write_text("Greet {{who}}\nwarmly")
    in_project = ("--project", project)
    made = treadle("types", "create", "greet", "--template", f"@{template}", *in_project, "--json").json
    assert (made["template"], made["variables"]) == ("Greet {{who}}\nwarmly", ["who"])
    assert "Greet {{who}}\\x0awarmly" in treadle("types", *in_project).out
    treadle("types", "change", "greet", "--rename", "hail", "--duplicates", "fail", *in_project)
    shown = treadle("types", "show", "hail", *in_project).out
    assert re.search(r"^duplicates +fail$", shown, re.MULTILINE)
    assert "\n    Greet {{who}}\n    warmly\n" in shown
    assert treadle("types", "create", "x", "--duplicates", "maybe", *in_project, code=2).err
    assert treadle("types", "delete", "hail", *in_project).out == "task type hail deleted\n"
    assert treadle("types", *in_project).err == f"no task types in {project}\n"


def test_a_task_is_submitted_found_and_called_off(treadle: Terminal, project: str) -> None:
    treadle("types", "create", "greet", "--template", "Greet {{who}}", "--project", project)
    options = ("--type", "greet", "--var", "who=Ann", "--var", "n:=[1]", "--priority", "3", "--batch", "b")
    id = treadle("tasks", "submit", "--project", project, *options).out.strip()
    shown = treadle("tasks", "show", id, "--json").json
    assert (shown["instructions"], shown["variables"], shown["priority"], shown["batch"]) == (
        "Greet Ann", {"who": "Ann", "n": [1]}, 3, "b",
    )  # fmt: skip
    listed = treadle("tasks", "--project", project).out.splitlines()
    assert listed[0].split() == ["task", "state", "type", "worker", "retries", "created", "what"]
    assert listed[1].split()[:3] == [id, "queued", "greet"]
    assert treadle("tasks", "list", "-p", project, "--state", "failed").err == f"no such tasks in {project}\n"
    assert treadle("tasks", "list", "-p", project, "--json", "--batch", "b").json["total"] == 1
    assert treadle("tasks", "cancel", id, "--reason", "enough").out == f"{id} cancelled\n"
    again = treadle("tasks", "cancel", id, "nope", code=1)
    assert again.err.splitlines()[-1] == "treadle: 2 of 2 were refused"
    assert re.search(r"^error +enough$", treadle("tasks", "show", id).out, re.MULTILINE)
    assert treadle("tasks", "requeue", id, "--json").json[0]["state"] == "queued"
    assert treadle("tasks", "delete", id).out == f"{id} deleted\n"


def test_what_a_task_says_is_never_markup_and_never_moves_the_cursor(treadle: Terminal, project: str) -> None:
    hostile = "[red]x[/red] \x1b[2J\x9b1m :smile:"
    id = treadle("tasks", "submit", "-p", project, "--description", hostile).out.strip()
    for command in (("list", "-p", project), ("show", id)):
        out = treadle("tasks", *command).out
        assert "[red]x[/red] \\x1b[2J\\x9b1m :smile:" in out
        assert "\x1b" not in out
    assert visible("a\tb\nc\r\x07", lines=True) == "a\tb\nc\\x0d\\x07"


def test_a_submit_may_wait_for_its_result(treadle: Terminal, server: Served, project: str) -> None:
    said = treadle("tasks", "submit", "-p", project, "--wait", "0", code=1)
    assert "is still queued" in said.out

    def work() -> None:
        Worker(project, lambda task: task.instructions, limit=2, home=server.home).start()

    worker = threading.Thread(target=work)
    worker.start()
    said = treadle("tasks", "submit", "-p", project, "--wait", "20", "--instructions", "say this")
    worker.join()
    assert said.out == "say this\n"


def test_many_tasks_from_a_file(treadle: Terminal, project: str, tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    lines = [json.dumps({"variables": {"n": n}, **({"priority": 5} if n == 1 else {})}) for n in range(2500)]
    file.write_text("\n".join(lines) + "\n\n")
    keyed = ("--bulk", str(file), "-p", project, "--batch", "b", "--priority", "1", "--idempotency-key", "k")
    assert treadle("tasks", "submit", *keyed).out == "2500 tasks submitted\n"
    told = treadle("tasks", "submit", *keyed, "--json").lines
    assert [line["submitted"] for line in told] == [1000, 2000, 2500]
    page = treadle("tasks", "list", "-p", project, "--json", "--limit", "2", "--batch", "b").json
    assert page["total"] == 2500  # the second time nothing was made
    assert [task["priority"] for task in page["tasks"]] == [1, 5]
    assert told[0]["ids"][0] == page["tasks"][0]["id"]
    assert treadle("tasks", "submit", "--bulk", "-", "-p", project, stdin="{}\n{}").out == "2 tasks submitted\n"


@pytest.mark.parametrize(
    ("stdin", "code", "told"),
    [
        ("{}\n{", 2, "line 2: Input data was truncated"),
        ("[]", 2, "line 1: Expected `object`, got `array`"),
        ('{"priority":"high"}', 2, "line 1: Expected `int`, got `str` - at `$.priority`"),
        ('{"colour":1}', 2, "line 1: a task has no colour"),
        ('{}\n{"name":"no spaces"}', 1, "tasks.1.name: Task name can only contain"),
    ],
)
def test_a_fault_in_a_bulk_names_its_line(treadle: Terminal, project: str, stdin: str, code: int, told: str) -> None:
    assert told in treadle("tasks", "submit", "--bulk", "-", "-p", project, stdin=stdin, code=code).err
    assert treadle("tasks", "list", "-p", project, "--json").json["total"] == 0


def test_watching_a_task_to_its_end(treadle: Terminal, server: Served, project: str) -> None:
    id = treadle("tasks", "submit", "-p", project).out.strip()
    worker = threading.Thread(target=_work_once, args=(project, server))
    watched: list[str] = []

    def watch() -> None:
        watched.append(treadle("tasks", "watch", id).out)

    worker.start()
    watch()
    worker.join()
    assert watched[0].splitlines()[-1] == "done"
    cancelled = treadle("tasks", "submit", "-p", project).out.strip()
    treadle("tasks", "cancel", cancelled)
    assert treadle("tasks", "watch", cancelled, code=1).out == "cancelled: Cancelled\n"


def _work_once(project: str, server: Served) -> None:
    Worker(project, lambda _: "done", limit=1, home=server.home).start()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("tasks", "list", "--project", "nope"), 1, "treadle: Project nope not found\n"),
        (("tasks", "list", "--state", "done"), 2, "treadle: --state done: say one of queued, running, "),
        (("projects", "create", "no spaces"), 1, "treadle: name: Project name can only contain letters"),
        (("tasks", "submit", "--var", "x"), 2, "treadle: --var x: say NAME=TEXT or NAME:=JSON"),
        (("tasks", "submit", "-i", "@/nope"), 2, "treadle: /nope cannot be read: "),
        (("tasks", "submit", "--bulk", "/nope"), 2, "treadle: /nope cannot be read: No such file or directory\n"),
        (("tasks", "submit", "--bulk", "-", "--wait", "1"), 2, "treadle: --wait and --name are for one task"),
        (("work", "--", "no-such-program"), 2, "treadle: there is no program no-such-program\n"),
        (("work", "--project", "nope", "--", "true"), 1, "treadle: Project nope not found\n"),
        (
            ("status", "--server", "http://127.0.0.1:1"),
            3,
            "treadle: the server at http://127.0.0.1:1 does not answer: ",
        ),
        (("status", "--server", "localhost:1"), 3, "treadle: localhost:1 is no address of a server; write http://"),
    ],
)
def test_errors_are_one_line_and_a_code(treadle: Terminal, arguments: tuple[str, ...], code: int, told: str) -> None:
    said = treadle(*arguments, code=code)
    assert said.err.startswith(told)
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_without_a_server_it_says_what_to_do(treadle: Terminal, tmp_path: Path) -> None:
    for command in (("status",), ("projects",), ("tasks",), ("types",), ("work", "true")):
        home = ("--home", str(tmp_path))
        said = treadle(*command[:1], *home, *command[1:], code=3)
        assert said.err == f"treadle: no server runs in {tmp_path}; start `treadle up`\n"


def test_a_wrong_key_is_one_line(treadle: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREADLE_KEY", "wrong")
    assert "TREADLE_KEY" in treadle("projects", code=1).err


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("a=b", ("a", "b")),
        ("a=", ("a", "")),
        ("a:=3", ("a", 3)),
        ('a:={"b":[]}', ("a", {"b": []})),
        ("a=b=c\nd", ("a", "b=c\nd")),
    ],
)
def test_variables_as_typed(typed: str, read: tuple[str, object]) -> None:
    assert variable(typed) == read


@pytest.mark.parametrize("typed", ["a", "=b", "a b=c", "1a=b", "a:=x"])
def test_variables_that_are_none(typed: str) -> None:
    with pytest.raises(Stop):
        variable(typed)


def test_instants_as_typed() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    assert moment("+90", now) - now == timedelta(seconds=90)
    assert moment("+1.5h", now) - now == timedelta(minutes=90)
    assert moment("2030-01-31T08:00:00+01:00", now) == datetime(2030, 1, 31, 7, tzinfo=UTC)
    assert moment("2030-01-31T08:00:00", now).tzinfo is not None
    with pytest.raises(Stop):
        moment("soon", now)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("tasks ", "submit"), ("tasks list --st", "--state"), ("projects show completed-", "completed-by-the-shell")],
)
def test_a_shell_completes(treadle: Terminal, server: Served, typed: str, offered: str) -> None:
    if offered.startswith("completed"):
        treadle("projects", "create", offered)
    words = f"treadle {typed}"
    asked = {"_TREADLE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", "from treadle.cli import main; main()"],
        env={**os.environ, **asked}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert offered in done.stdout.split(), done.stderr
