"""Other bars, days, clocks, columns and comparisons in a running core: what a step sees is what had closed, no more."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
import talib
from numpy.typing import NDArray

from atmand.core.columns import COLUMNS
from atmand.core.inputs import ColumnValue, column_draft
from atmand.core.layout import VERDICT
from atmand.core.manifest import Manifest, Program
from atmand.core.opening import BookLimits, params_draft
from atmand.core.records import Kind
from atmand.core.state import LayoutError, table
from atmand.core.words import StepFlag
from atmand.history.bars import BAR
from atmand.lang.build import build
from atmand.lang.program import Deployment, generate
from atmand.lang.strategy import StrategyFile, parse_strategy
from atmand.market.sessions import ns
from atmand.research.backtest import instruments_of, pairs_of
from atmand.research.bar_driver import BarDriver, DrivenMarket

DAYS = (date(2026, 7, 6), date(2026, 7, 7))
MINUTE = 60_000_000_000
SHARES = ("AAA", "BBB", "CCC")
N = 75
"""Bars of each day that are drawn, of the session's 375: the rest of the day nothing trades."""

_HEAD = 'universe = ["NSE:AAA", "NSE:BBB"]\n[entry]\nlong = "signal(\'go\') > 0.5"\n[params]\n'
_BACK = 'back = { default = 3, range = [2, 6], unit = "bars" }\n'
TEXTS = {
    "day": 'stop.loss = "day_high - day_low"\nstop.target = "prev_day.close"\nstop.trail = "opening_range(15).high"\n'
    'size.quantity = "gap"\ntrade.rank = "minutes_to_close"\nstop.bars = "hour * 100 + minute"\n',
    "other": 'stop.loss = "close(on=\'15m\')"\nstop.target = "close(\'NSE:CCC\')[1]"\nstop.bars = "close[back]"\n'
    "stop.trail = \"highest(close('NSE:CCC'), back)\"\nsize.quantity = \"rsi(back, on='5m')\"\n"
    "trade.rank = \"sma(back, of='NSE:CCC', on='5m')\"\n",
    "cross": 'stop.loss = "weekday"\nstop.target = "zscore(roc(1))"\nstop.trail = "close * atman.mean"\n'
    'size.quantity = "signal(\'go\')"\ntrade.rank = "signal_age(\'go\')"\nstop.bars = "rank(close)"\n',
}


@functools.cache
def files() -> dict[str, StrategyFile]:
    made = {}
    for name, text in TEXTS.items():
        sized = [line for line in text.split("\n") if line]
        lines = f'name = "{name}"\n' + "\n".join(sized) + "\n" + _HEAD + (_BACK if name == "other" else "")
        made[name] = parse_strategy(lines, f"{name}.toml")
    return made


@functools.cache
def compiled() -> Program:
    return build(generate([Deployment(file) for file in files().values()]))


def draw(seed: int, days: int = 2) -> NDArray[Any]:
    """Draw bars of three shares, (minutes, shares), on the tick."""
    rng = np.random.default_rng(seed)
    bars = np.zeros((days * N, len(SHARES)), BAR)
    for share in range(len(SHARES)):
        close = 100_000 + 5_000 * share + np.cumsum(rng.integers(-30, 31, days * N)) * 5
        before = np.concatenate([[close[0]], close[:-1]])
        bars["open"][:, share], bars["close"][:, share] = before, close
        bars["high"][:, share] = np.maximum(before, close) + 10
        bars["low"][:, share] = np.minimum(before, close) - 10
        bars["volume"][:, share] = 1_000
    for day in range(days):
        starts = ns(DAYS[day], "09:15") + np.arange(N) * MINUTE
        bars["start_ns"][day * N : (day + 1) * N] = starts[:, None]
    return bars


class Run:
    """The three strategies over drawn days, bar by bar."""

    def __init__(self, back: float = 3) -> None:
        deployments = [Deployment(file, values={"back": back} if n == "other" else {}) for n, file in files().items()]
        made = generate(deployments).manifest
        shared = compiled()
        manifest = Manifest(shared.manifest.structures, made.books, made.accounts, shared.manifest.source, made.signals)
        self.program = Program(shared.apply, shared.run_bars, shared.source, manifest)
        instruments = instruments_of(SHARES)
        market = DrivenMarket(
            [(instrument, 0) for instrument in instruments], pairs_of(deployments, instruments), [BookLimits(0)] * 3
        )
        self.rows: list[NDArray[Any]] = []
        self.driver = BarDriver(self.program, market, self.rows.append)
        self.volume = np.zeros(len(SHARES), np.int64)

    def over(self, bars: NDArray[Any], first: int = 0, last: int | None = None) -> Iterator[dict[str, NDArray[Any]]]:
        """Fold bars one by one; yield every strategy's verdicts on its two shares after each."""
        for at in range(first, len(bars) if last is None else last):
            if at % N == 0:
                self.driver.open(DAYS[at // N])
                self.volume[:] = 0
            present = np.ones((1, len(SHARES)), np.bool_)
            self.driver._fold(bars[at : at + 1], present, self.volume)
            self.driver._timers(int(bars["start_ns"][at, 0]) + MINUTE + 1_500_000_000)
            yield {name: self.verdicts(book) for book, name in enumerate(files())}

    def verdicts(self, book: int) -> NDArray[Any]:
        arena, pairs = self.driver.engine.layout.arena, self.driver.engine.table("pairs")
        slabs = [int(pair["slab_at"]) for pair in pairs if pair["book"] == book]
        return np.concatenate([arena[at : at + VERDICT.itemsize].view(VERDICT) for at in slabs])

    def put(self, draft: Any) -> None:
        self.driver._apply(draft, int(self.driver.engine.header["time_ns"]) + 1)


@functools.cache
def seen() -> tuple[NDArray[Any], list[dict[str, NDArray[Any]]]]:
    bars = draw(1)
    return bars, [{name: rows.copy() for name, rows in step.items()} for step in Run().over(bars)]


def column(strategy: str, field: str, share: int = 0) -> NDArray[np.float64]:
    return np.array([step[strategy][field][share] for step in seen()[1]])


def rupees(field: str, share: int) -> NDArray[np.float64]:
    return np.asarray(seen()[0][field][:, share] / 100.0, np.float64)


def test_the_days_own_numbers_begin_anew_each_day() -> None:
    high, low, close = (rupees(name, 0).reshape(2, N) for name in ("high", "low", "close"))
    spans = np.maximum.accumulate(high, axis=1) - np.minimum.accumulate(low, axis=1)
    np.testing.assert_allclose(column("day", "stop"), spans.ravel(), rtol=1e-12)
    before = np.concatenate([np.full(N, math.nan), np.full(N, close[0, -1])])
    np.testing.assert_array_equal(column("day", "target"), before)
    opened = rupees("open", 0)[N]
    gap = np.concatenate([np.full(N, math.nan), np.full(N, (opened - close[0, -1]) * 100 / close[0, -1])])
    np.testing.assert_allclose(column("day", "quantity"), gap, rtol=1e-12)


def test_an_opening_range_has_a_value_once_its_minutes_are_over() -> None:
    high = rupees("high", 0).reshape(2, N)
    expected = np.repeat(high[:, :15].max(axis=1)[:, None], N, axis=1)
    expected[:, :14] = math.nan
    np.testing.assert_array_equal(column("day", "trail"), expected.ravel())


def test_the_clock_is_that_of_the_bars_end_in_india() -> None:
    minutes = np.tile(9 * 60 + 16 + np.arange(N), 2)
    np.testing.assert_array_equal(column("day", "bars"), minutes // 60 * 100 + minutes % 60)
    np.testing.assert_array_equal(column("day", "rank"), 15 * 60 + 30 - minutes)
    np.testing.assert_array_equal(column("cross", "stop"), np.repeat([0, 1], N))


def test_a_longer_bar_is_seen_on_the_bar_that_ends_with_it_and_not_before() -> None:
    close = rupees("close", 0)
    ends = np.arange(len(close)) // 15 * 15 - 1 + 15 * ((np.arange(len(close)) % 15) == 14)
    expected = np.where(ends >= 0, close[np.maximum(ends, 0)], math.nan)
    np.testing.assert_array_equal(column("other", "stop"), expected)


def test_an_indicator_on_other_bars_equals_talib_on_those_bars() -> None:
    for share, field, source, function in ((0, "quantity", 0, talib.RSI), (1, "rank", 2, talib.SMA)):
        five = rupees("close", source)[4::5]
        value = function(np.ascontiguousarray(five), 3)
        closed = (np.arange(2 * N) + 1) // 5 - 1
        expected = np.where(closed >= 0, value[np.maximum(closed, 0)], math.nan)
        np.testing.assert_allclose(column("other", field, share), expected, rtol=1e-9)


def test_another_instruments_bar_of_the_same_minute_is_seen_and_its_history_too() -> None:
    close = rupees("close", 2)
    np.testing.assert_array_equal(column("other", "target"), np.concatenate([[math.nan], close[:-1]]))
    highest = talib.MAX(np.ascontiguousarray(close), 3)
    np.testing.assert_array_equal(column("other", "trail"), highest)


def test_instruments_are_compared_within_a_strategy() -> None:
    first, second = rupees("close", 0), rupees("close", 1)
    np.testing.assert_array_equal(column("cross", "bars"), np.where(first == second, 0.5, first > second))
    z = column("cross", "target", 0)
    assert math.isnan(z[0])
    np.testing.assert_allclose(np.abs(z[1:]), 1.0)
    np.testing.assert_allclose(z[1:], -column("cross", "target", 1)[1:])


def test_nothing_before_a_bar_changes_when_later_bars_do() -> None:
    bars, known = seen()
    changed = draw(2)
    cut = N + 37
    changed[:cut] = bars[:cut]
    for at, step in enumerate(Run().over(changed, last=cut)):
        for name, rows in step.items():
            np.testing.assert_array_equal(rows.tolist(), known[at][name].tolist())


@pytest.mark.parametrize(("before", "after", "minute"), [(3, 6, 40), (6, 2, 100), (2, 5, 7), (5, 3, 149)])
def test_a_look_back_changed_in_the_day_equals_a_run_that_had_it(before: int, after: int, minute: int) -> None:
    bars = draw(3)
    swapped, fresh = Run(before), Run(after)
    for run in (swapped, fresh):
        for _ in run.over(bars, last=minute):
            pass
    values = [list(book.values) for book in fresh.program.manifest.books]
    swapped.put(params_draft(values))
    end = (minute // N + 1) * N  # a new session would begin with the program's own values
    later = zip(swapped.over(bars, minute, end), fresh.over(bars, minute, end), strict=True)
    compared = 0
    for mine, theirs in later:
        for name in mine:
            for field in VERDICT.names or ():
                np.testing.assert_allclose(mine[name][field], theirs[name][field], rtol=1e-9, err_msg=f"{name} {field}")
                compared += 1
    assert compared > 0


def cross(run: Run) -> Mapping[str, Any]:
    return run.verdicts(2)[0]  # type: ignore[no-any-return]


def step_once(run: Run, bars: NDArray[Any], at: int) -> Mapping[str, Any]:
    for _ in run.over(bars, at, at + 1):
        pass
    return cross(run)


def test_values_from_outside_are_read_until_they_are_too_old() -> None:
    bars, run = draw(4), Run()
    assert math.isnan(step_once(run, bars, 0)["quantity"])
    now = int(run.driver.engine.header["time_ns"])
    run.put(column_draft(Kind.SIGNAL, [ColumnValue(-1, 0, 1.0, now + 90 * 10**9)], as_of_ns=now))
    run.put(column_draft(Kind.FORECAST, [ColumnValue(0, 0, 0.25), ColumnValue(1, 0, 0.5)], as_of_ns=now))
    first = step_once(run, bars, 1)
    close = bars["close"] / 100.0
    assert (first["quantity"], first["trail"]) == (1.0, close[1, 0] * 0.25)
    assert run.verdicts(2)[1]["trail"] == close[1, 1] * 0.5
    assert first["flags"] & StepFlag.ENTER_LONG
    assert 55 < first["rank"] < 65
    later = step_once(run, bars, 2)
    assert math.isnan(later["quantity"]) and not later["flags"] & StepFlag.ENTER_LONG
    assert later["trail"] == close[2, 0] * 0.25


def test_a_value_for_no_row_is_passed_over_and_an_older_one_changes_nothing() -> None:
    bars, run = draw(4), Run()
    step_once(run, bars, 0)
    now = int(run.driver.engine.header["time_ns"])
    before = table(run.driver.engine.layout.arena, "columns").copy()
    for instrument, column_ in ((99, 0), (0, 99), (0, -1)):
        run.put(column_draft(Kind.SIGNAL, [ColumnValue(instrument, column_, 5.0)], as_of_ns=now))
    np.testing.assert_array_equal(table(run.driver.engine.layout.arena, "columns"), before)
    for as_of, value in ((now, 2.0), (now - 5, 3.0)):
        run.put(column_draft(Kind.SIGNAL, [ColumnValue(0, 0, value)], as_of_ns=as_of))
    assert table(run.driver.engine.layout.arena, "columns")["value"][len(COLUMNS)] == 2.0


def test_an_instrument_that_the_session_does_not_have_is_refused() -> None:
    run = Run()
    run.driver._market = DrivenMarket([(i, 0) for i in instruments_of(("AAA", "BBB"))], [(1, 0)], [BookLimits(0)] * 3)
    with pytest.raises(LayoutError, match="NSE:CCC is not in the session's table"):
        run.driver.open(DAYS[0] + timedelta(days=0))
