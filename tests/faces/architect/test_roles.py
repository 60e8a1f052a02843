"""What roles give: everywhere, or on some servers (spec 5)."""

from __future__ import annotations

import pytest

from treadle.faces.architect.roles import FIXED, Rights, Role, known, rights_of, within

OPS = Role(name="ops", permissions=("server.*", "backup.list"), servers=("alpha",))
STARTER = Role(name="starter", permissions=("server.start",), servers=("alpha", "beta"))
READER = Role(name="reader", permissions=("user.list",))


def test_rights_of_roles() -> None:
    assert rights_of([]) == Rights()
    rights = rights_of([OPS, STARTER, READER])
    assert rights.everywhere == ("user:list",)
    assert rights.on == {"alpha": ("server:*", "backup:list", "server:start"), "beta": ("server:start",)}
    assert rights.where("server:start") == {"alpha", "beta"}
    assert rights.where("server:stop") == {"alpha"}
    assert rights.where("user:list") == frozenset()


@pytest.mark.parametrize(
    ("scope", "servers", "held"),
    [
        ("server:stop", ("alpha",), True),
        ("server:stop", ("beta",), False),
        ("server:start", ("alpha", "beta"), True),
        ("server:stop", ("alpha", "beta"), False),
        ("server:start", ("alpha", "gamma"), False),
        ("server:start", (), False),
        ("user:list", ("gamma",), True),
        ("user:list", (), True),
        ("user:create", ("alpha",), False),
    ],
)
def test_scopes_for_the_servers_of_a_call(scope: str, servers: tuple[str, ...], held: bool) -> None:
    rights = rights_of([OPS, STARTER, READER])
    assert Rights(rights.scopes(servers)).hold(scope) is held


def test_a_right_everywhere_and_one_on_a_server_meet() -> None:
    rights = Rights(("server:start",), {"beta": ("server:*",)})
    assert Rights(rights.scopes(("alpha", "beta"))).hold("server:start")
    assert not Rights(rights.scopes(("alpha", "beta"))).hold("server:stop")
    assert rights.hold("server:stop", "beta")
    assert not rights.hold("server:stop", "alpha")
    assert rights.hold("public", "alpha")


def test_root_may_everything_and_the_default_role_little() -> None:
    assert rights_of([FIXED["root"]]).hold("anything:at-all")
    assert rights_of([FIXED["default"]]) == Rights(("agent:info",))


@pytest.mark.parametrize(
    ("scopes", "may"),
    [(("*",), True), (("server:*", "backup:*"), True), (("server:start",), False), (("server:*",), False), ((), False)],
)
def test_nobody_gives_what_they_lack(scopes: tuple[str, ...], may: bool) -> None:
    assert within(scopes, OPS) is may


@pytest.mark.parametrize(
    ("word", "means"),
    [
        ("*", True),
        ("server.*", True),
        ("server.start", True),
        ("server", False),
        ("server.stop", False),
        ("servers.*", False),
        ("server.*.x", False),
        ("Server.start", False),
        ("server.start\n", False),
        ("", False),
    ],
)
def test_words(word: str, means: bool) -> None:
    assert known(word, ("server:start", "user:list")) is means
