"""The verbs of history: what they print, their exit codes, and bars named by the word store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from atmand.__main__ import main

HEAD = "symbol,ts,open,high,low,close,volume"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rows = [f"INFY,2026-07-06 09:{15 + n}:00+05:30,{100 + n},{102 + n},{99 + n},{101 + n},10" for n in range(30)]
    (tmp_path / "bars.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    (tmp_path / "bad.csv").write_text("\n".join([HEAD, *rows, "INFY,2026-07-06 10:00:00+05:30,1,2,3,1,1"]) + "\n")
    (tmp_path / "atmand.toml").write_text(f'[instance]\nstate = "{tmp_path}/state"\n')
    return tmp_path


def ran(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_import_list_and_check_speak_json_and_tell_by_their_exit_code(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ("--store", files / "store")
    code, out, _ = ran(capsys, "data", "import", files / "bars.csv", *store, "--json")
    found = json.loads(out)
    assert (code, found["added"], found["bad_rows"]) == (0, 30, 0)
    code, out, err = ran(capsys, "data", "import", files / "bad.csv", *store)
    assert code == 1 and f"{files / 'bad.csv'}: line 32: the high is below the low" in err
    assert "same = 30" in out and "bad_rows = 1" in out
    code, out, _ = ran(capsys, "data", "list", *store, "--json")
    listed = json.loads(out)
    assert [(row["instrument"], row["rows"], row["from"]) for row in listed["bars"]] == [
        ("NSE:EQ:INFY", 30, "2026-07-06")
    ]
    assert len(listed["sources"]) == 2
    assert ran(capsys, "data", "list", *store)[1].split()[-6:] == [
        "1m", "1", "2026-07-06", "2026-07-06", "30", str(listed["bars"][0]["bytes"]),
    ]  # fmt: skip
    code, out, _ = ran(capsys, "data", "check", files / "store", "--json")
    found = json.loads(out)
    assert (code, found["good"], found["summary"]) == (1, False, {"gap": {"findings": 1, "count": 345}})
    code, out, err = ran(capsys, "data", "check", files / "bad.csv", "--key", "NSE:INFY")
    assert code == 1 and out.splitlines()[1].startswith("impossible") and "impossible 1" in err


def test_the_word_store_names_the_configurations_bars(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ("--config", files / "atmand.toml")
    assert ran(capsys, "data", "list", *config)[0] == 3
    assert ran(capsys, "data", "import", files / "bars.csv", *config)[0] == 0
    code, out, _ = ran(capsys, *config, "eval", "close", "--data", "store", "--instrument", "INFY")
    assert (code, out.splitlines()[1]) == (0, "INFY,2026-07-06T09:15:00.000+05:30,101.0")
    direct = ran(capsys, "eval", "close", "--data", f"{files / 'state' / 'history'}:1m", "--instrument", "NSE:INFY")
    assert direct[1] == out
    code, _, err = ran(capsys, *config, "eval", "close", "--data", "store:5m", "--instrument", "INFY")
    assert code == 3 and "no 5m bars of INFY" in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("eval", "close", "--data", "nowhere.csv"), 2, "is no file or folder"),
        (("data", "import", "nowhere.csv"), 2, "does not exist"),
        (("data", "check", "FOLDER"), 2, "is no bar store"),
        (("data", "import", "FOLDER/bars.csv", "--format", "mt4", "--store", "FOLDER/s"), 2, "use one of bars, kite"),
        (("data", "import", "FOLDER/bars.csv", "--store", "FOLDER"), 3, "holds something else"),
    ],
)
def test_wrong_use_is_refused(
    files: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, message: str
) -> None:
    got, _, err = ran(capsys, *(word.replace("FOLDER", str(files)) for word in words))
    assert got == code and message in " ".join(err.split())
