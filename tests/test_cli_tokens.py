"""`atmand token`: the secret is shown once and on standard output alone, and what is wrong is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from atmand.__main__ import main
from atmand.api.tokens import TOKENS, Tokens
from atmand.errors import ExitCode

State = tuple[str, str]


@pytest.fixture
def state(tmp_path: Path) -> State:
    return "--state", str(tmp_path)


def test_a_token_is_made_listed_and_revoked(state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "new", "tradingview", "--scope", "signal", "--expires", "90d", *state]) == ExitCode.DONE
    made = capsys.readouterr()
    secret = made.out.strip()
    assert secret.startswith("atmand_") and secret not in made.err and "tradingview" in made.err
    assert main(["token", "new", "ops", "--scope", "operate", "--json", *state]) == ExitCode.DONE
    other = json.loads(capsys.readouterr().out)
    token = Tokens(tmp_path / TOKENS).find(secret)
    assert token is not None and token.expires is not None
    assert Tokens(tmp_path / TOKENS).find(other["token"]) is not None

    assert main(["token", "list", "--json", *state]) == ExitCode.DONE
    listed = capsys.readouterr().out
    assert [(row["name"], row["scope"], row["state"]) for row in json.loads(listed)] == [
        ("tradingview", "signal", "good"),
        ("ops", "operate", "good"),
    ]
    assert main(["token", "list", *state]) == ExitCode.DONE
    listed += capsys.readouterr().out
    assert not any(hidden in listed for hidden in (secret, other["token"], token.sha256))

    assert main(["token", "revoke", "tradingview", *state]) == ExitCode.DONE
    assert main(["token", "revoke", other["id"], "--json", *state]) == ExitCode.DONE
    assert '"state":"revoked"' in capsys.readouterr().out
    assert main(["token", "list", *state]) == ExitCode.DONE
    assert "there is no token" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["new", "a b", "--scope", "read"], "write letters"),
        (["new", "", "--scope", "read"], "write letters"),
        (["new", "one", "--scope", "admin"], "one of: read, signal, write, operate"),
        (["new", "one"], "--scope"),
        (["new", "one", "--scope", "read", "--expires", "soon"], "90d"),
        (["revoke", "nobody"], "known are none"),
    ],
)
def test_what_is_wrong_is_refused_with_its_remedy(
    state: State, tmp_path: Path, words: list[str], remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["token", *words, *state]) == ExitCode.USAGE
    said = capsys.readouterr()
    assert remedy in said.err and said.out == ""
    assert not (tmp_path / TOKENS).exists()


@pytest.mark.parametrize(
    "words", [["reload"], ["exit", "1-1"], ["entries", "off"], ["strategy", "pause", "x"], ["strategy", "resume", "x"]]
)
def test_verbs_that_tell_a_daemon_say_where_there_is_none(
    state: State, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *state]) == ExitCode.UNREACHABLE
    assert "no daemon runs here" in capsys.readouterr().err


def test_entries_are_on_or_off(state: State) -> None:
    assert main(["entries", "perhaps", *state]) == ExitCode.USAGE
