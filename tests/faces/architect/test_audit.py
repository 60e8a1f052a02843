"""What the audit keeps of parameters (spec 5, 10.5)."""

from __future__ import annotations

from typing import Any

import pytest

from treadle.faces.architect.audit import LONGEST, masked


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"server": "alpha"}, {"server": "alpha"}),
        ({"password": "x"}, {"password": "***"}),
        ({"password": None}, {"password": None}),
        ({"env": {"API_KEY": "x", "PATH": "/bin"}}, {"env": {"API_KEY": "***", "PATH": "/bin"}}),
        ({"headers": [{"Authorization": "x"}]}, {"headers": [{"Authorization": "***"}]}),
        ({"secret": {"deep": ["x"]}}, {"secret": "***"}),
        ({"data": "x" * 300}, {"data": "x" * LONGEST + "… (300 characters)"}),
        ({"n": 1, "ok": True, "none": None}, {"n": 1, "ok": True, "none": None}),
    ],
)
def test_masking(given: dict[str, Any], kept: dict[str, Any]) -> None:
    assert masked(given) == kept


def test_depth_and_width_are_bounded() -> None:
    deep: Any = "x"
    for _ in range(30):
        deep = {"a": [deep]}
    assert len(str(masked(deep))) < 100
    assert len(masked({str(n): n for n in range(1000)})) == 50
    assert len(masked(list(range(1000)))) == 50
