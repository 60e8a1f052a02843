"""Settings that contradict each other refuse the start."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faces.console.gate.conftest import Make
from treadle.core.errors import FabricError
from treadle.faces.console.gate import CannotAdmit, GateOptions, check


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"username": "ada"}, "UA_WEBUI_PASSWORD"),
        ({"password": "x"}, "UA_WEBUI_USERNAME"),
        ({"username": "a:b", "password": "x"}, "UA_WEBUI_USERNAME"),
        ({"username": "local", "password": "x"}, "UA_WEBUI_USERNAME"),
        ({"session_secret": b"short"}, "32 bytes"),
        ({"cors_origins": ("*",)}, "UA_WEBUI_CORS_ORIGINS"),
        ({"proxies": ("nowhere",)}, "nowhere"),
    ],
)
def test_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(CannotAdmit, match=named) as refused:
        check(GateOptions(**options))
    assert isinstance(refused.value, FabricError)
    assert isinstance(refused.value, ValueError)


def test_nothing_set_is_fine() -> None:
    check(GateOptions())


async def test_the_gate_looks_at_its_options(make: Make) -> None:
    with pytest.raises(CannotAdmit):
        make(username="ada")
