"""Settings: layers, errors that name file, path and remedy, secrets that stay secret, and what SIGHUP can change."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atmand.errors import ExitCode
from atmand.settings import Settings, SettingsError, builtin, changes, load, redacted
from atmand.settings_errors import Layer
from atmand.settings_layers import merged

Write = Callable[[str], Path]

STRATEGY = """
[accounts.paper]
[strategies.one]
file = "one.toml"
account = "paper"
capital_rupees = 1_000
"""


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("ATMAND_") or name in ("CREDENTIALS_DIRECTORY", "XDG_STATE_HOME"):
            monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    (tmp_path / "one.toml").touch()

    def to_file(text: str) -> Path:
        file = tmp_path / "x.toml"
        file.write_text(text)
        return file

    return to_file


def refusal(file: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(file)
    assert caught.value.exit_code == ExitCode.REFUSED
    return str(caught.value).replace(f"{file}: ", "x.toml: ").splitlines()


def test_the_built_in_demo_loads_with_its_two_strategies() -> None:
    settings = load(builtin("demo.toml"))
    assert settings.feed.kind == "simulator"
    assert set(settings.strategies) == {"rsi_macd", "ema_trend"}
    assert all(strategy.file.is_file() for strategy in settings.strategies.values())
    assert settings.simulator.start_ns == 1_783_309_500 * 10**9
    assert settings.instance.state == Path.home() / ".local/state/atmand/demo"


def test_the_paper_configuration_needs_only_the_api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"feed\.kite\.api_key: not set; put it in ATMAND_FEED__KITE__API_KEY"):
        load(builtin("paper.toml"))
    monkeypatch.setenv("ATMAND_FEED__KITE__API_KEY", "abc")
    settings = load(builtin("paper.toml"))
    assert settings.feed.kite is not None
    assert settings.feed.kite.api_key.get_secret_value() == "abc"
    assert settings.feed.kite.access_token_file == Path.home() / ".config/atmand/access_token"


def test_an_empty_file_is_a_whole_configuration(write: Write) -> None:
    settings = load(write(""))
    assert settings.strategies == {}
    assert settings.limits.order_value_paise == 100 * settings.limits.order_value_rupees
    assert settings.market.latency_ns == (50_000_000, 150_000_000)


def test_later_layers_win_key_by_key(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write("[simulator]\nseed = 1\nspeed = 1\nhistorical_per_second = 1\n[limits]\nopen_positions = 1\n")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "simulator__speed").write_text("3\n")
    monkeypatch.setenv("ATMAND_SECRETS_DIR", str(secrets))
    monkeypatch.setenv("ATMAND_SIMULATOR__SEED", "2")
    monkeypatch.setenv("ATMAND_SIMULATOR__SPEED", "2")
    monkeypatch.setenv("ATMAND_SIMULATOR__HISTORICAL_PER_SECOND", "")
    settings = load(file, {"simulator": {"seed": 4}})
    assert (settings.simulator.seed, settings.simulator.speed) == (4, 3.0)
    assert settings.simulator.historical_per_second == 1
    assert settings.limits.open_positions == 1


def test_the_environment_reaches_lists_and_named_tables(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATMAND_MARKET__LATENCY_MS", "[1, 2]")
    monkeypatch.setenv("ATMAND_STRATEGIES__ONE__CAPITAL_RUPEES", "5")
    monkeypatch.setenv("ATMAND_STRATEGIES__ONE__PARAMS__LOW", "1.5")
    monkeypatch.setenv("ATMAND_STRATEGIES__ONE__ENABLED", "false")
    settings = load(write(STRATEGY))
    assert settings.market.latency_ms == (1, 2)
    one = settings.strategies["one"]
    assert (one.capital_paise, one.params, one.enabled) == (500, {"low": 1.5}, False)


def test_secrets_come_from_the_credentials_of_a_service_manager(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "feed__kite__api_key").write_text("from-a-file\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    settings = load(write('[feed]\nkind = "kite"\n[feed.kite]\naccess_token_file = "t"\n'))
    assert settings.feed.kite is not None
    assert settings.feed.kite.api_key.get_secret_value() == "from-a-file"


def test_a_missing_secrets_directory_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATMAND_SECRETS_DIR", "/nowhere/at/all")
    assert "/nowhere/at/all" in refusal(write(""))[0]


def test_relative_paths_start_at_the_configuration_file(write: Write, tmp_path: Path) -> None:
    settings = load(write('[instance]\nstate = "here"\n' + STRATEGY))
    assert settings.instance.state == tmp_path / "here"
    assert settings.strategies["one"].file == tmp_path / "one.toml"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[jornal]\nkeep = 3", "x.toml: jornal.keep: unknown key; did you mean journal.keep_sessions?"),
        ("[journal]\nflush = 3", "x.toml: journal.flush: unknown key; did you mean journal.flush_ms?"),
        (
            STRATEGY + "capitl_rupees = 1",
            "x.toml: strategies.one.capitl_rupees: unknown key; did you mean strategies.one.capital_rupees?",
        ),
        ("zzz = 1", "x.toml: zzz: unknown key; known are "),
        ("feed = 1", "x.toml: feed: should be a table; write [feed] and its keys below it"),
        ("[feed]\nkind = 'kit'", 'x.toml: feed.kind: should be "simulator" or "kite", got \'kit\'; expected:'),
        ("[feed]\nkind = 'kite'", "x.toml: feed.kite: not set; write [feed.kite] with api_key and access_token_file"),
        ("[simulator]\nspeed = 'fast'", "x.toml: simulator.speed: not accepted, got 'fast'; expected: auto, or"),
        ("[simulator]\nspeed = inf", "x.toml: simulator.speed: not accepted, got inf; expected: auto, or"),
        (
            "[simulator]\nstart = 2026-07-06T09:15:00",
            "x.toml: simulator.start: should be a date and time with",
        ),
        ("[simulator]\nbars = 'none.csv'", "x.toml: simulator.bars: "),
        ("[market]\nlatency_ms = [5, 1]", "x.toml: market.latency_ms: the low end is above the high end, got [5, 1];"),
        ("[market]\nlatency_ms = [5]", "x.toml: market.latency_ms: should have more values"),
        ("[market]\ncosts_as_of = 'soon'", "x.toml: market.costs_as_of: should be a date, such as"),
        (
            "[market]\nbrokerage = 'gratis'",
            "x.toml: market.brokerage: no brokerage plan of that name, got 'gratis'; choose",
        ),
        ("[accounts.Paper]", "x.toml: accounts.Paper: not a name, got 'Paper'; use lower-case letters"),
        ("[accounts.a__b]", "x.toml: accounts.a__b: not a name"),
        ("[accounts.a]\nvenue = 'live'", "x.toml: accounts.a.venue: live orders are not supported by this version"),
        ("[strategies.a]\nfile = 'one.toml'", "x.toml: strategies.a.account: not set; put it in ATMAND_STRATEGIES__A_"),
        (STRATEGY.replace('"paper"', '"papr"'), "x.toml: strategies.one.account: no account is called 'papr'; write"),
        (STRATEGY.replace("one.toml", "two.toml"), "x.toml: strategies.one.file: "),
        (STRATEGY.replace("1_000", "0"), "x.toml: strategies.one.capital_rupees: should be above 0"),
        (STRATEGY + "params = { low = 'x' }", "x.toml: strategies.one.params.low: should be a number"),
        ("[journal]\nkeep_sessions = 0", "x.toml: journal.keep_sessions: should be at least 1"),
        ("[a\n", "x.toml: not valid TOML: "),
    ],
)
def test_a_wrong_setting_is_told_with_its_path_and_a_remedy(write: Write, text: str, told: str) -> None:
    lines = refusal(write(text))
    assert any(line.startswith(told) for line in lines), lines
    assert all("; " in line for line in lines)


def test_every_problem_is_told_at_once(write: Write) -> None:
    assert len(refusal(write("[simulator]\nseed = -1\nsped = 2\n[log]\nlevel = 'loud'\n"))) == 3


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file or directory; name a readable file") as caught:
        load(tmp_path / "none.toml")
    assert caught.value.exit_code == ExitCode.USAGE


def test_memory_that_cannot_hold_a_record_is_refused(write: Write) -> None:
    (line,) = refusal(write("[journal]\nmemory_bytes = 1000000\n"))
    assert line.startswith("x.toml: journal.memory_bytes: ") and "16777216" in line.replace("_", "")


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("ATMAND_SIMULATR__SPEED", "1", "ATMAND_SIMULATR__SPEED: unknown key; did you mean ATMAND_SIMULATOR__SPEED?"),
        ("ATMAND_SIMULATOR__SPED", "1", "ATMAND_SIMULATOR__SPED: unknown key; did you mean ATMAND_SIMULATOR__SPEED?"),
        ("ATMAND_SIMULATOR__SEED", "x", "ATMAND_SIMULATOR__SEED: should be a whole number"),
        ("ATMAND_MARKET__LATENCY_MS", "[1", "environment: error parsing value for field"),
    ],
)
def test_a_wrong_variable_is_told_by_its_own_name(
    write: Write, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert refusal(write("[simulator]\nseed = 1"))[0].startswith(told)


def test_variables_that_are_no_settings_are_left_alone(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATMAND_TEST_DATA", "/some/where")
    assert load(write("")).instance.name == "demo"


SECRET = "s3cr3t-value"


def test_a_secret_shows_in_no_redacted_output(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATMAND_FEED__KITE__API_KEY", SECRET)
    monkeypatch.setenv("ATMAND_FEED__KITE__API_SECRET", SECRET)
    settings = load(write('[feed]\nkind = "kite"\n[feed.kite]\naccess_token_file = "token"\n'))
    shown = redacted(settings)
    assert SECRET not in json.dumps(shown) + repr(settings)
    assert shown["feed"]["kite"]["access_token_file"].endswith("/token")


def test_a_secret_shows_in_no_error(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATMAND_FEED__KITE__API_KEYS", SECRET)
    monkeypatch.setenv("ATMAND_FEED__KITE__API_KEY", json.dumps([SECRET]))
    assert SECRET not in "\n".join(refusal(write("[feed.kite]\naccess_token_file = 't'\n")))


def test_a_change_says_whether_it_is_live(write: Write) -> None:
    old = load(write(STRATEGY + "params = { low = 30 }\n"))
    text = STRATEGY.replace("1_000", "2_000") + "params = { low = 25, high = 70 }\n"
    new = load(write(text + "[limits]\nopen_positions = 1\n[log]\nlevel = 'debug'\nformat = 'json'\n"))
    found = {change.path: (change.old, change.new, change.live) for change in changes(old, new)}
    assert found == {
        "limits.open_positions": (10, 1, True),
        "log.format": ("auto", "json", False),
        "log.level": ("info", "debug", True),
        "strategies.one.capital_rupees": (1000, 2000, True),
        "strategies.one.params.high": (None, 70.0, True),
        "strategies.one.params.low": (30.0, 25.0, True),
    }
    assert changes(old, old) == []


def test_a_new_strategy_and_its_account_are_taken_up_live(write: Write) -> None:
    old = load(write(""))
    new = load(write(STRATEGY + "params = { low = 30 }\n"))
    assert {change.path for change in changes(old, new)} >= {"strategies.one.params.low", "accounts.paper.venue"}
    assert all(change.live for change in changes(old, new))


def test_a_changed_secret_is_masked_in_the_list_of_changes(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[feed]\nkind = "kite"\n[feed.kite]\naccess_token_file = "t"\n'
    monkeypatch.setenv("ATMAND_FEED__KITE__API_KEY", SECRET)
    old = load(write(text))
    monkeypatch.setenv("ATMAND_FEED__KITE__API_KEY", SECRET + "2")
    (change,) = changes(old, old.reload())
    assert change.path == "feed.kite.api_key"
    assert SECRET not in repr(change)


def test_a_reload_keeps_what_the_command_line_said(write: Write) -> None:
    file = write("[simulator]\nseed = 1\n")
    settings = load(file, {"simulator": {"speed": 9}})
    write("[simulator]\nseed = 2\nspeed = 1\n")
    again = settings.reload()
    assert again.path == file
    assert (again.simulator.seed, again.simulator.speed) == (2, 9.0)


def test_the_configuration_is_found_where_it_is_documented(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert load().path == builtin("demo.toml").absolute()
    (tmp_path / "empty" / "atmand.toml").touch()
    assert load().path == tmp_path / "empty" / "atmand.toml"
    monkeypatch.setenv("ATMAND_CONFIG", str(write("")))
    assert load().path == tmp_path / "x.toml"


def test_every_setting_says_what_it_expects() -> None:
    for name, section in Settings.model_fields.items():
        if name not in ("accounts", "indicators", "strategies", "journal"):
            for key, field in section.annotation.model_fields.items():  # type: ignore[union-attr]
                assert field.description, f"{name}.{key}"


TREES = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)
TABLES = st.dictionaries(st.sampled_from("abc"), TREES, max_size=3)


@given(TABLES, TABLES)
def test_laying_sources_over_each_other_changes_neither(strong: dict[str, object], weak: dict[str, object]) -> None:
    before = json.dumps([strong, weak])
    layers = [Layer("strong", strong), Layer("weak", weak)]
    once = merged(layers)
    assert json.dumps([strong, weak]) == before
    assert merged([Layer("strong", strong), Layer("weak", once)]) == once
