"""Actions: offered once by name, and run only for those who may."""

from __future__ import annotations

import pytest
from msgspec import Struct

from tests.core.stage import Stage
from treadle.core.access import Principal
from treadle.core.actions import Action, Answer, Caller, by_name
from treadle.core.errors import Denied
from treadle.core.fabric import Fabric


class Nothing(Struct):
    """No parameters."""


async def run(_: Fabric, caller: Caller, __: Nothing) -> Answer:
    return Answer(data=caller.principal.name)


WEAVE = Action(name="weave", summary="Weave", params=Nothing, scope="looms:use", run=run)


@pytest.mark.parametrize(("scopes", "may"), [((), False), (("looms",), False), (("looms:*",), True), (("*",), True)])
async def test_only_who_holds_the_right_runs_it(stage: Stage, scopes: tuple[str, ...], may: bool) -> None:
    caller = Caller(Principal("ann", "native", scopes))
    if may:
        assert (await WEAVE.perform(stage.fabric, caller, Nothing())).data == "ann"
    else:
        with pytest.raises(Denied, match="weave needs the right looms:use"):
            await WEAVE.perform(stage.fabric, caller, Nothing())


def test_a_name_is_offered_once() -> None:
    assert by_name([WEAVE]) == {"weave": WEAVE}
    with pytest.raises(ValueError, match="weave is offered twice"):
        by_name([WEAVE, Action(name="weave", summary="Again", params=Nothing, scope="looms:use", run=run)])
