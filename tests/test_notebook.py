"""The verbs as functions: a light import, a fresh interpreter without preparation, the answers of the verbs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import atmand

ROOT = Path(__file__).parent.parent
STRATEGY = """name = "probe"
universe = ["NSE:AAA"]
[entry]
long = "crosses_above(ema(2), ema(4))"
[stop]
loss = "1"
target = "1"
[size]
quantity = 10
"""


def bars_file(folder: Path) -> Path:
    lines = ["symbol,ts,open,high,low,close,volume"]
    price = 500.0
    for minute in range(30):
        close = price + (1.5 if minute % 7 < 4 else -1.5)
        low, high = min(price, close) - 0.5, max(price, close) + 0.5
        lines.append(f"AAA,2026-07-06T09:{15 + minute}:00+05:30,{price},{high},{low},{close},50000")
        price = close
    path = folder / "bars.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def python(script: str, folder: Path, **environment: str) -> str:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**kept, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "state"), **environment},
        cwd=folder, capture_output=True, text=True, check=True, timeout=300,
    ).stdout  # fmt: skip


@pytest.mark.process
def test_importing_atmand_loads_nothing_heavy(tmp_path: Path) -> None:
    script = "import atmand, sys; print(sorted(m for m in sys.modules if '.' not in m))"
    loaded = python(script, tmp_path)
    assert "'atmand'" in loaded
    assert not [name for name in ("numba", "numpy", "polars", "pydantic", "asyncio") if f"'{name}'" in loaded]


@pytest.mark.process
def test_a_fresh_interpreter_back_tests_and_evaluates(tmp_path: Path) -> None:
    (tmp_path / "probe.toml").write_text(STRATEGY)
    bars_file(tmp_path)
    script = """
import json
from atmand import backtest, eval
run = backtest("probe.toml", data="bars.csv", capital=50_000, start="2026-07-06")
page = run.html("page.html")
values = eval("close - open", data="bars.csv")
print(json.dumps({
    "trades": run.trades.height, "net": run.trades["net_paise"].sum(), "figure": run.figures["net_paise"],
    "bars": run.equity.height, "capital": run.document()["capital_paise"], "page": page.stat().st_size > 10**6,
    "values": values["value"].to_list()[:5], "cache": __import__("os").environ["NUMBA_CACHE_DIR"],
}))
"""
    cache = str(tmp_path / "cache")
    told = json.loads(python(script, tmp_path, NUMBA_DISABLE_JIT="1", XDG_CACHE_HOME=cache))
    assert told["trades"] >= 2 and told["net"] == told["figure"]
    assert told["bars"] == 30 and told["capital"] == 5_000_000 and told["page"]
    assert told["values"] == [1.5, 1.5, 1.5, 1.5, -1.5]
    assert told["cache"].startswith(cache)
    assert (tmp_path / "state/atmand/demo/research/log.jsonl").read_text().count("\n") == 1


def test_what_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'atmand' has no attribute 'bcktest'"):
        _ = atmand.bcktest


def test_bars_in_memory_are_cut_to_days_as_a_file_is(tmp_path: Path) -> None:
    from atmand.history.bars import HistoryError, load_bars
    from atmand.notebook import question

    bars = load_bars(bars_file(tmp_path))
    for start, end, kept in ((None, None, 30), ("2026-07-06", "2026-07-06", 30), ("2026-07-01", None, 30)):
        asked = question("probe.toml", data=bars, start=start, end=end)
        assert callable(asked.data) and len(asked.data().series["AAA"]) == kept
    asked = question("probe.toml", data=bars, end="2026-07-05")
    assert callable(asked.data)
    with pytest.raises(HistoryError, match="no bars between these days"):
        asked.data()
