"""Settings: every source and its rank, every spelling, and one clear line for whatever is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from treadle.settings import FACES, Settings, taskdriver
from treadle.settings.reading import Reading, Wrong, read
from treadle.settings.table import entries, without_password


def reading(
    home: Path, toml: str = "", flags: Mapping[str, str | Sequence[str]] | None = None, **environ: str
) -> Reading:
    """What is read in a home with this treadle.toml, these flags and this environment."""
    if toml:
        (home / "treadle.toml").write_text(toml, "utf-8")
    return read({"home": str(home), **(flags or {})}, environ)


def settings(
    home: Path, toml: str = "", flags: Mapping[str, str | Sequence[str]] | None = None, **environ: str
) -> Settings:
    return reading(home, toml, flags, **environ).settings


def refusal(home: Path, toml: str = "", flags: Mapping[str, str | Sequence[str]] | None = None, **environ: str) -> str:
    with pytest.raises(Wrong) as wrong:
        reading(home, toml, flags, **environ)
    assert "\n" not in str(wrong.value)
    return str(wrong.value)


def test_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert (found.store, found.bus, found.auth, found.projects) == ("sqlite", "local:", "open", ())
    assert found.listen.taskdriver == "127.0.0.1:3000"
    assert found.listen.fabric == "127.0.0.1:4892"
    assert found.taskdriver.rate_limit == 100
    assert found.taskdriver.session_timeout == 3_600_000
    assert found.home == tmp_path


def test_the_home_is_the_flag_then_the_variable_then_the_users_own(tmp_path: Path) -> None:
    own = {"HOME": str(tmp_path)}
    assert read({}, own).settings.home == Path("~/.treadle").expanduser()
    assert read({}, {"TREADLE_HOME": str(tmp_path / "a")}).settings.home == tmp_path / "a"
    assert read({"home": str(tmp_path / "b")}, {"TREADLE_HOME": "/elsewhere"}).settings.home == tmp_path / "b"


def test_a_flag_wins_over_the_environment_that_over_the_documents_own_that_over_the_file(tmp_path: Path) -> None:
    toml = "[taskdriver]\nsession_timeout = 1001\nrate_limit = 1"
    found = reading(tmp_path, toml, TASKDRIVER_SESSION_TIMEOUT="1002", TREADLE_TASKDRIVER_RATE_LIMIT="2")
    assert found.settings.taskdriver.session_timeout == 1002
    assert found.settings.taskdriver.rate_limit == 2
    sources = {row.name: row.source for row in found.rows}
    assert sources["taskdriver.session_timeout"] == "TASKDRIVER_SESSION_TIMEOUT"
    assert sources["taskdriver.rate_limit"] == "TREADLE_TASKDRIVER_RATE_LIMIT"
    assert sources["store"] == "default"
    ours = settings(tmp_path, toml, TASKDRIVER_SESSION_TIMEOUT="1002", TREADLE_TASKDRIVER_SESSION_TIMEOUT="1003")
    assert ours.taskdriver.session_timeout == 1003
    both = settings(tmp_path, flags={"auth": "required"}, TREADLE_AUTH="open")
    assert both.auth == "required"


SAMPLES = {
    "store": "postgresql://u@h/n",
    "auth": "required",
    "hosts": "a,b",
    "projects": "a,b",
    "ready_file": "/a/b",
    "log_level": "debug",
    "log_format": "json",
    "taskdriver.session_timeout": "5000",
    "taskdriver.enable_auth": "false",
    "taskdriver.cors_origins": "https://a.example,https://b.example",
    "fabric.cors_origins": "https://a.example,https://b.example",
    "bus": "nats://h:4222",
    "bus_credentials": "/a/b",
    "console.cors_origins": "https://a.example,https://b.example",
    "console.command": "run '{path}' \"{args}\"",
    "console.columns": "80",
    "console.echo": "true",
    "console.pty": "false",
    "console.arguments": "/a/b",
    "output.per_task": "1000000",
    "output.total": "2000000",
    "output.days": "8",
    "ufo.cors_origins": "https://a.example",
    "ufo.health_open": "true",
    "ufo.runner": "echo",
    "ufo.keep_seconds": "100",
    "ufo.llm.mode": "tools",
    "ufo.llm.thoughts": "false",
    "ufo.llm.act_first": "true",
    "ufo.llm.vision": "true",
    "ufo.platforms": '{"linux": "rules"}',
    "ufo.devices": '{"a": "rules"}',
    "ufo.inject": '{"a": {"b": "c"}}',
} | {f"listen.{face}": "127.0.0.1:1" for face, address in FACES.items() if address}
NOTHING_ELSE_TO_SAY = {"home", "config"} | {f"listen.{face}" for face, address in FACES.items() if not address}


@pytest.mark.parametrize("name", sorted(set(entries()) - NOTHING_ELSE_TO_SAY))
def test_a_setting_reads_the_same_from_the_environment_and_from_the_file(name: str, tmp_path: Path) -> None:
    entry = entries()[name]
    told = reading(tmp_path, **{entry.variable: SAMPLES.get(name, "7")})
    value = {row.name: row.value for row in told.rows}[name]
    assert value != entry.default
    if value == "***":  # what a secret shows of itself
        value = "7"
    if entry.is_table:
        inner = "".join(f"{key} = {json.dumps(each)}\n" for key, each in value.items() if not isinstance(each, dict))
        inner += "".join(
            f"{key} = {{{', '.join(f'{k} = {json.dumps(v)}' for k, v in each.items())}}}\n"
            for key, each in value.items()
            if isinstance(each, dict)
        )
        assert settings(tmp_path, f"[{entry.name}]\n{inner}") == told.settings
        return
    written = json.dumps(value)  # texts, numbers, booleans and lists are written alike in JSON and TOML
    section = f"[{entry.section}]\n" if entry.section else ""
    assert settings(tmp_path, f"{section}{entry.key} = {written}") == told.settings


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("TREADLE_TASKDRIVER_RATE_LIMIT", "many", "'many' must be a whole number of at least 0"),
        ("TREADLE_TASKDRIVER_RATE_LIMIT", "-1", "must be a whole number of at least 0"),
        ("TASKDRIVER_DEFAULT_MAX_RETRIES", "11", "'11' must be a whole number from 0 to 10"),
        ("TASKDRIVER_ENABLE_AUTH", "perhaps", "must be true or false"),
        ("TREADLE_AUTH", "no", "'no' must be one of open, required"),
        ("TREADLE_PROJECTS", "fine,not fine", "must be names of letters"),
        ("TREADLE_LISTEN_FABRIC", "4892", "must be HOST:PORT, [IPV6]:PORT or off"),
        ("TREADLE_LISTEN_FABRIC", "127.0.0.1:99999", "with a port of at most 65535"),
        ("TREADLE_LISTEN_ARCHITECT", "127.0.0.1:8090", "the architect face is not built yet"),
        ("TREADLE_UFO_DEVICES", "{", "is no JSON object"),
        ("TASKDRIVER_PORT", "http", "must be HOST:PORT"),
        ("TREADLE_STORE", "mysql://u:hidden@h/n", "must be sqlite or postgresql://"),
        ("TREADLE_STORE", "@/no/such/file", "/no/such/file cannot be read: No such file"),
        ("TREADLE_BUS", "amqp://u:hidden@h", "must be local: or nats://HOST:PORT"),
        ("TREADLE_CONSOLE_COMMAND", "run '{path}", "cannot be split into words"),
        ("CORS_ORIGIN", "example.org", "must be origins such as https://example.org"),
    ],
)
def test_a_wrong_value_is_one_line_naming_where_it_was_said(
    variable: str, value: str, words: str, tmp_path: Path
) -> None:
    line = refusal(tmp_path, **{variable: value})
    assert variable in line
    assert words in line
    assert "hidden" not in line


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        (
            "[taskdriver]\nrate_limt = 1",
            "there is no setting rate_limt in [taskdriver]; did you mean [taskdriver] rate_limit?",
        ),
        ("stoer = 'sqlite'", "there is no setting stoer; did you mean store?"),
        ("taskdriver = 3", "taskdriver is a section; write [taskdriver] above its settings"),
        ("home = '/x'", "home cannot be set in a file; use --home or TREADLE_HOME"),
        ("[taskdriver]\nrate_limit = '5'", "[taskdriver] rate_limit: '5' must be a whole number"),
        ("[taskdriver]\nenable_auth = 0", "[taskdriver] enable_auth: 0 must be true or false"),
        ("ready_file = 3", "ready_file: 3 must be a text"),
        ("x = ", "cannot be read: Invalid value (at end of document)"),
    ],
)
def test_what_is_wrong_in_the_file_is_one_line_naming_the_file(toml: str, words: str, tmp_path: Path) -> None:
    line = refusal(tmp_path, toml)
    assert line.startswith(str(tmp_path / "treadle.toml"))
    assert words in line


def test_a_file_asked_for_by_name_has_to_be_there(tmp_path: Path) -> None:
    assert refusal(tmp_path, flags={"config": "/no/such.toml"}) == "--config: there is no file /no/such.toml"


def test_a_variable_that_is_no_setting_is_warned_of_with_the_nearest_name(tmp_path: Path) -> None:
    found = reading(
        tmp_path, TREADLE_TASKDRIVER_RATE_LIMT="1", TREADLE_KEY="k", TREADLE_SERVER="s", TREADLE_TASK_ID="t"
    )
    assert found.warnings == (
        "TREADLE_TASKDRIVER_RATE_LIMT is not a setting and changes nothing; "
        "did you mean TREADLE_TASKDRIVER_RATE_LIMIT?",
    )


def test_an_empty_variable_is_as_good_as_none(tmp_path: Path) -> None:
    assert settings(tmp_path, TREADLE_STORE="", TASKDRIVER_PORT="").listen.taskdriver == "127.0.0.1:3000"


@pytest.mark.parametrize(
    ("toml", "environ", "address"),
    [
        ("", {"TASKDRIVER_PORT": "3100"}, "127.0.0.1:3100"),
        ("", {"TASKDRIVER_HOST": "localhost"}, "localhost:3000"),
        ("", {"TASKDRIVER_HOST": "::1", "TASKDRIVER_PORT": "0"}, "[::1]:0"),
        ("[listen]\ntaskdriver = '127.0.0.2:4000'", {"TASKDRIVER_HOST": "localhost"}, "localhost:4000"),
        ("[listen]\ntaskdriver = 'off'", {"TASKDRIVER_PORT": "3100"}, "127.0.0.1:3100"),
        ("", {"TASKDRIVER_PORT": "3100", "TREADLE_LISTEN_TASKDRIVER": "off"}, "off"),
    ],
)
def test_taskdrivers_own_host_and_port(toml: str, environ: dict[str, str], address: str, tmp_path: Path) -> None:
    assert settings(tmp_path, toml, **environ).listen.taskdriver == address


def test_taskdrivers_other_variables_are_ignored_and_say_why(tmp_path: Path) -> None:
    found = reading(tmp_path, TASKDRIVER_STORAGE_PROVIDER="redis", NODE_ENV="production")
    said = {each.variable: each for each in found.ignored}
    assert set(said) == set(taskdriver.IGNORED)
    assert said["TASKDRIVER_STORAGE_PROVIDER"].set
    assert said["NODE_ENV"].set
    assert not said["TASKDRIVER_MODE"].set
    assert found.warnings == (f"TASKDRIVER_STORAGE_PROVIDER changes nothing: {taskdriver.OTHER_STORAGE}",)


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:hidden@h/n", "postgresql://h/n?user=u&password=hidden", "postgres://u:hid/den@h/n"],
)
def test_a_password_is_refused_on_the_command_line_and_never_shown(url: str, tmp_path: Path) -> None:
    line = refusal(tmp_path, flags={"store": url})
    assert "TREADLE_STORE" in line
    assert "@FILE" in line
    found = reading(tmp_path, TREADLE_STORE=url)
    assert found.settings.store == url
    told = {row.name: row.value for row in found.rows}["store"]
    for text in (line, told):
        assert "hidden" not in text
        assert "den@" not in text
    assert "***" in told


def test_a_url_without_a_password_is_shown_as_it_is() -> None:
    url = "postgresql://user@host:5432/name?sslmode=verify-full"
    assert without_password(url) == url


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_a_secret_may_come_from_a_file(how: str, tmp_path: Path) -> None:
    file = tmp_path / "store.url"
    file.write_text("postgresql://u:hidden@h/n\n")
    said = f"@{file}"
    found = settings(tmp_path, flags={"store": said}) if how == "flag" else settings(tmp_path, TREADLE_STORE=said)
    assert found.store == "postgresql://u:hidden@h/n"


def test_every_setting_says_what_it_means_and_what_it_must_be() -> None:
    for entry in entries().values():
        assert entry.meaning, entry.name
        assert entry.rule, entry.name
    variables = [entry.variable for entry in entries().values()]
    assert len(set(variables)) == len(variables)
