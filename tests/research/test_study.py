"""A run from question to log: what is recorded, how trials add up, and a hold-out that is not seen by accident."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from test_backtest import CAPITAL, DAYS, STRATEGY, made_bars

from atmand.errors import ExitCode, UnsafeError
from atmand.history.bars import Bars
from atmand.market.sessions import ns
from atmand.research.log import ResearchLog
from atmand.research.run import BacktestRun, backtest
from atmand.research.study import Conduct, Question

PARAMS = "[params]\nhot = {default = 80, range = [60, 95]}\n[entry]"
TUNED = STRATEGY.replace("[entry]", PARAMS).replace("> 80", "> hot")


def short_mornings() -> Bars:
    return made_bars(45)


def first_morning() -> Bars:
    bars = short_mornings()
    kept = {symbol: rows[rows["start_ns"] < ns(DAYS[1], "00:00")] for symbol, rows in bars.series.items()}
    return Bars(bars.source, bars.symbols, kept)


def ran(
    state: Path,
    params: Mapping[str, float] | None = None,
    *,
    data: Any = short_mornings,
    text: str = TUNED,
    **conduct: Any,
) -> BacktestRun:
    file = state / "probe.toml"
    file.write_text(text)
    question = Question(strategy=file, data=data, params=params or {}, capital_rupees=CAPITAL // 100)
    return backtest(question, Conduct(log=ResearchLog(state), cash_percent=5.25, kernel="a" * 64, **conduct))


def test_a_run_is_recorded_with_what_it_depends_on(tmp_path: Path) -> None:
    run = ran(tmp_path, {"hot": 75})
    (entry,) = ResearchLog(tmp_path).entries()
    assert entry == run.recorded.entry
    assert (entry["verb"], entry["strategy"], entry["params"]) == ("backtest", "probe", {"hot": 75})
    assert entry["digest"] == run.result.digest and entry["strategy_sha256"] == run.study.file.sha256
    assert entry["data"]["instruments"] == ["AAA", "BBB"] and entry["kernel"] == "a" * 64
    assert entry["data"]["first"] == "2026-07-06T09:15:00.000+05:30"
    assert entry["figures"]["net_paise"] == sum(trade.net_paise for trade in run.result.trades)


def test_each_new_trial_counts_and_the_same_one_does_not(tmp_path: Path) -> None:
    trials = [ran(tmp_path, {"hot": hot}).recorded.trials.n for hot in (80, 75, 80, 70)]
    assert trials == [1, 2, 2, 3]
    changed = ran(tmp_path, text=TUNED.replace("< 20", "< 25"))  # another structure, the same name
    assert changed.recorded.trials.n == changed.deflated.trials == 4
    other = ran(tmp_path, text=TUNED.replace("probe", "other").replace("< 20", "< 30"))
    assert other.recorded.trials.n == 1


def test_a_hold_out_is_refused_until_it_is_burnt_and_is_burnt_for_ever(tmp_path: Path) -> None:
    held: dict[str, Any] = {"holdout_from": DAYS[1]}
    before = ran(tmp_path, data=first_morning, **held)
    assert before.study.holdout is None and before.notes == []
    with pytest.raises(UnsafeError, match="the data reach into the hold-out, which begins on 2026-07-07") as refused:
        ran(tmp_path, **held)
    assert refused.value.exit_code == ExitCode.UNSAFE
    with pytest.raises(UnsafeError):
        ran(tmp_path, burn_reason="  ", **held)
    assert [entry["verb"] for entry in ResearchLog(tmp_path).entries()] == ["backtest"]

    burning = ran(tmp_path, burn_reason="going live", **held)
    after = ran(tmp_path, {"hot": 70}, **held)
    assert [entry["verb"] for entry in ResearchLog(tmp_path).entries()] == ["backtest", "burn", "backtest", "backtest"]
    for run, seen in ((burning, 0), (after, 1)):
        (note,) = run.notes
        assert '"going live"' in note and f"{seen} earlier runs have seen it" in note
        assert run.document()["holdout"]["from"] == "2026-07-07"
    with pytest.raises(UnsafeError):  # it was burnt for one strategy, not for all
        ran(tmp_path, text=TUNED.replace("probe", "other").replace("< 20", "< 30"), **held)


def test_data_before_the_hold_out_are_free(tmp_path: Path) -> None:
    assert ran(tmp_path, holdout_from=date(2026, 7, 8)).study.holdout is None


def test_a_document_adds_up(tmp_path: Path) -> None:
    run = ran(tmp_path)
    told = run.document()
    assert told["net_paise"] == told["gross_paise"] - told["costs_paise"] == told["slippage"]["net_paise"]["1"]
    assert sum(trade["slippage_paise"] for trade in told["trades"]) == told["slippage"]["slippage_paise"] > 0
    assert abs(sum(told["costs_by_kind_paise"].values()) - told["costs_paise"]) <= 2 * len(told["trades"])
    assert told["beside"]["cash"]["annual_return"] == 0.0525
    assert told["beside"]["buy_and_hold"]["total_return"] < 0
    assert run.equity["equity_paise"].to_list() == [paise for _, paise in run.result.equity]
    assert run.trades["net_paise"].sum() == told["net_paise"]
    assert run.figures["total_return"] == pytest.approx(run.equity["equity_paise"][-1] / CAPITAL - 1)


def test_a_strategy_that_never_trades_has_tables_and_a_page_too(tmp_path: Path) -> None:
    run = ran(
        tmp_path, text=TUNED.replace("crosses_above(ema(3), ema(8))", "close > 1000000").replace("short", "# short")
    )
    assert run.trades.height == 0 and run.trades["net_paise"].sum() == 0
    assert run.performance.sharpe is None and run.deflated.probability is None
    assert run.document()["figures"]["win_rate"] is None
    run.write_trades(tmp_path / "trades.parquet")
    assert "undefined" in run.html(tmp_path / "page.html").read_text("utf-8")
