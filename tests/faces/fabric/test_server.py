"""What the server says of itself: the page, health, what runs here, the document of its API."""

from __future__ import annotations

import base64
import hashlib
import re

from tests.faces.fabric.conftest import Api
from tests.faces.fabric.serving import VERSION, Served
from treadle.faces.fabric.page import page, page_reply


def test_the_page_says_what_runs_where(api: Api, server: Served) -> None:
    answer = api.http.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert f'<a href="{server.url}">{server.url}</a>' in answer.text
    assert f"<small>{VERSION}</small>" in answer.text
    assert "treadle tasks submit" in answer.text
    assert "<script" not in answer.text


def test_the_page_brings_its_own_style_and_nothing_else() -> None:
    reply = page_reply("1", {})
    [style] = re.findall(r"<style>(.*?)</style>", reply.body.decode(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = dict(reply.headers)[b"content-security-policy"].decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.findall(r'(?:src|href)="https?:', reply.body.decode())


def test_the_page_escapes() -> None:
    shown = page("<b>1", {"<i>": 'javascript:alert("x")'})
    assert "<b>1" not in shown
    assert "<i>" not in shown
    assert 'href="javascript' not in shown


def test_health_and_about(api: Api, server: Served) -> None:
    assert api.get("/health") == {"status": "healthy", "version": VERSION}
    about = api.get("/api/queue/about")
    assert about["listeners"] == {"fabric": server.url}
    assert (about["version"], about["store"]) == (VERSION, "sqlite")


def test_the_document_has_every_route(api: Api, server: Served) -> None:
    document = api.get("/openapi.json")
    listed = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    routes = {(r.method, r.path) for r in server.app.routes if r.documented}
    sockets = {("X-WEBSOCKET", socket.path) for socket in server.app.sockets}
    assert listed == routes | sockets
    assert len(listed) == 38
