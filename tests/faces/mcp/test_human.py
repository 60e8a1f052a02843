"""How an answer reads for a person."""

from __future__ import annotations

from treadle.faces.mcp.human import outline


def test_an_answer_is_an_outline() -> None:
    told = {
        "success": True,
        "data": {"name": "looms", "open": True, "stats": {"total": 2}, "tags": [], "text": "a\nb", "none": None},
        "agentName": "ada",
        "message": "Project looms created",
    }
    assert outline(told).splitlines() == [
        "Project looms created",
        "name: looms",
        "open: yes",
        "stats:",
        "  total: 2",
        "tags: (none)",
        "text: |",
        "  a",
        "  b",
        "none: (none)",
        "agentName: ada",
    ]


def test_lists_have_a_line_for_each_thing() -> None:
    told = {"success": True, "data": [{"id": 1, "of": {"a": [2, 3]}}, {}, "x"]}
    assert outline(told).splitlines() == [
        "Done",
        "- id: 1",
        "  of:",
        "    a:",
        "      - 2",
        "      - 3",
        "- (empty)",
        "- x",
    ]


def test_a_refusal_says_why_first() -> None:
    told = {"success": False, "data": None, "error": "No tasks available", "agentName": "ada"}
    assert outline(told).splitlines() == ["Not done: No tasks available", "agentName: ada"]
