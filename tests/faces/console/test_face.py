"""The application as a whole: who may call what, settings that contradict each other, and what it costs to name it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faces.console.serving import Browser, Server
from treadle.core.access import PUBLIC
from treadle.faces.console.gate import ADMIN, USE
from treadle.web.routes import access_matrix

OPEN = {
    ("GET", "/api/health"),
    ("GET", "/api/csrf_token"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("GET", "/login/recovery"),
    ("POST", "/login/recovery"),
    ("GET", "/logout"),
    ("POST", "/logout"),
    ("GET", "/static/{file*}"),
    ("GET", "/openapi.json"),
}


def test_only_these_are_open_to_all(server: Server) -> None:
    matrix = access_matrix(server.app.routes)
    documents = {("GET", path) for _, path, _ in matrix if path.startswith("/docs")}
    assert {(method, path) for method, path, scope in matrix if scope == PUBLIC} == OPEN | documents
    assert {scope for _, _, scope in matrix} == {PUBLIC, USE, ADMIN}


def test_a_page_of_another_origin_changes_nothing(browser: Browser) -> None:
    for path in ("/api/execute", "/api/input", "/api/kill"):
        answer = browser.ask(
            "POST", path, {"path": "/", "session_id": "x", "input": ""}, headers={"origin": "http://evil.test"}
        )
        assert answer.status_code == 403, path
    assert browser.ask("GET", "/api/health", headers={"host": "evil.test"}).status_code in (400, 403, 421)


@pytest.mark.parametrize(
    "options",
    [
        {"roots": ("relative",)},
        {"command": ("{args}",)},
        {"gate": {"username": "ada"}},
        {"gate": {"cors_origins": ("*",)}},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    server = Server(tmp_path, with_node=False, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"."):
        server.start()


def test_naming_the_face_loads_no_terminal_and_no_passwords() -> None:
    program = (
        "import sys, treadle.faces.console; "
        "print([name for name in sys.modules if name.split('.')[0] in ('argon2', 'pyotp', 'pyte')"
        " or 'console.terminal' in name or 'console.face' in name])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
