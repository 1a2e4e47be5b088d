"""Back-test: bars a second beside a loop written by hand; and the event loop's longest stall while a program loads.

Prints JSON lines; writes the section `backtest` of docs/performance.md. With `--stall` it is one process's load.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from _report import Report, Spread, count, interleaved, table

from atmand.start import prepare_compiler

prepare_compiler(None)

from atmand.core.opening import BookLimits  # noqa: E402
from atmand.history.bars import BAR, Bars  # noqa: E402
from atmand.lang.build import build  # noqa: E402
from atmand.lang.program import Deployment, GeneratedProgram, generate  # noqa: E402
from atmand.lang.strategy import parse_strategy  # noqa: E402
from atmand.market.sessions import ns  # noqa: E402
from atmand.research.backtest import Backtest, Result, run_backtest  # noqa: E402
from atmand.start import builtin  # noqa: E402

_CASES: Final = {"1 symbol": (1, 94_000), "50 symbols": (50, 2_000)}
_SESSION_BARS: Final = 375
_MINUTE_NS: Final = 60_000_000_000
_FIRST: Final = date(2025, 4, 1)
_COSTS: Final = date(2026, 7, 6)
_CAPITAL_PAISE: Final = 10**12
_VOLATILITY: Final = 0.0008
_RUNS: Final = 5
_LOADS: Final = 7
_BEAT_S: Final = 0.001
_DEFINITION: Final = """Bars of all symbols together a second of `run_backtest`, its records, carried books, trades and
equity curve included, the program loaded before. Each bar is drawn out into four full-mode ticks; orders go through
intent, latency, depth and the costs of every trade; stops, targets, risk limits and square-off are on, `rsi_macd` as
shipped with capital enough. *Limit* is `_limit.py`: the same two indicators in one hand-written loop over floats, which
fills at the close and knows none of this."""
_STALL: Final = """While a program is loaded in a thread (from the compiler's cache, then called once), a task on the
loop wakes every millisecond: the longest time between two wakes was {median:.1f} ms (median of {runs} processes, most
{most:.1f} ms); without a load it was {idle:.1f} ms. Loading took {load:.0f} ms."""


def main() -> None:
    report = Report("backtest", "Back-test, and loading a program")
    rows = [_row(report, who, *case) for who, case in _CASES.items()]
    loads = [_stalled() for _ in range(_LOADS)]
    gaps = [load["gap_ms"] for load in loads]
    words = {
        "median": float(np.median(gaps)),
        "most": max(gaps),
        "idle": float(np.median([load["idle_ms"] for load in loads])),
        "load": float(np.median([load["load_ms"] for load in loads])),
    }
    report.figure("loop", "longest gap while a program loads", words["median"], "ms", **words, runs=_LOADS)
    head = ["bars", "filled orders", "trades", "bars/s", "µs an order", "limit, bars/s", "its orders", "of the limit"]
    report.write(_DEFINITION, table(["case", *head], rows), _STALL.format(**words, runs=_LOADS))


def _row(report: Report, who: str, symbols: int, bars: int) -> list[str]:
    from _limit import limit_over

    plan = _plan(symbols, bars)
    program = build(generate(plan.deployments))
    closes = [rows["close"] / 100.0 for rows in plan.bars.series.values()]
    equity = np.zeros(bars)
    results: list[Result] = []
    spent: dict[str, Spread] = interleaved(
        {
            "atmand": lambda: results.append(run_backtest(plan, program)),
            "limit": lambda: limit_over(closes, equity),
        },
        _RUNS,
    )
    result, total = results[-1], symbols * bars
    assert result.bars == total
    orders, wall = _orders(result), spent["atmand"].wall
    ours, limit = total / wall, total / spent["limit"].wall
    report.figure("atmand", who, ours, "bars/s", bars=total, orders=orders, trades=len(result.trades))
    report.figure("limit", who, limit, "bars/s", bars=total, orders=limit_over(closes, equity))
    return [
        who,
        f"{total:,}",
        f"{orders:,}",
        f"{len(result.trades):,}",
        count(ours),
        f"{wall / max(orders, 1) * 1e6:.1f}",
        count(limit),
        f"{limit_over(closes, equity):,}",
        f"1/{limit / ours:,.0f}",
    ]


def _orders(result: Result) -> int:
    """Count the orders that were filled: an entry and an exit a trade."""
    return 2 * len(result.trades)


def _plan(symbols: int, bars: int) -> Backtest:
    names = [f"S{place}" for place in range(symbols)]
    random = np.random.default_rng(3)
    starts = _minutes(bars)
    series = {name: _series(random, starts) for name in names}
    universe = f"universe = {json.dumps([f'NSE:{name}' for name in names])}"
    text = re.sub(r"universe = \[[^\]]*\]", universe, builtin("strategies/rsi_macd.toml").read_text("utf-8"))
    deployment = Deployment(parse_strategy(text, "rsi_macd.toml"), "backtest")
    return Backtest([deployment], Bars("generated", tuple(names), series), [BookLimits(_CAPITAL_PAISE)], _COSTS)


def _minutes(bars: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the starts of so many minutes of weekdays' sessions."""
    days = (_FIRST + timedelta(days=offset) for offset in range(bars))
    opens = (ns(day, "09:15") for day in days if day.weekday() < 5)
    minutes = np.arange(_SESSION_BARS) * _MINUTE_NS
    sessions = [open_ns + minutes for open_ns, _ in zip(opens, range(-(-bars // _SESSION_BARS)), strict=False)]
    return np.concatenate(sessions)[:bars]


def _series(random: np.random.Generator, starts: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, Any]:
    rows = np.zeros(len(starts), BAR)
    close = 100_000 * np.exp(np.cumsum(random.normal(0, _VOLATILITY, len(starts))))
    opened = np.concatenate(([100_000.0], close[:-1]))
    reach = np.abs(random.normal(0, _VOLATILITY / 2, (2, len(starts))))
    rows["start_ns"] = starts
    rows["open"], rows["close"] = np.rint(opened / 5) * 5, np.rint(close / 5) * 5
    rows["high"] = np.ceil(np.maximum(opened, close) * (1 + reach[0]) / 5) * 5
    rows["low"] = np.floor(np.minimum(opened, close) * (1 - reach[1]) / 5) * 5
    rows["volume"] = random.integers(1_000, 100_000, len(starts))
    return rows


def _stalled() -> dict[str, float]:
    done = subprocess.run([sys.executable, Path(__file__), "--stall"], check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


async def _stall() -> dict[str, float]:
    """Load a program in a thread while the loop beats; the first beats are those of an idle loop."""
    generated = generate(_plan(1, _SESSION_BARS).deployments)
    idle = await _longest_gap(asyncio.create_task(asyncio.sleep(0.5)))
    began = time.perf_counter()
    loading = asyncio.create_task(asyncio.to_thread(_load, generated))
    gap = await _longest_gap(loading)
    return {"idle_ms": idle * 1e3, "gap_ms": gap * 1e3, "load_ms": (await loading - began) * 1e3}


def _load(generated: GeneratedProgram) -> float:
    build(generated)
    return time.perf_counter()


async def _longest_gap(until: asyncio.Task[Any]) -> float:
    longest, before = 0.0, time.perf_counter()
    while not until.done():
        await asyncio.sleep(_BEAT_S)
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    return longest


if __name__ == "__main__":
    if sys.argv[1:] == ["--stall"]:
        import uvloop

        print(json.dumps(uvloop.run(_stall())))
    else:
        main()
