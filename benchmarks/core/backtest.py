"""Back-test: bars a second, memory, and the time from a process's start to its first result, beside limit and peers.

Prints JSON lines; writes the section `backtest` of docs/performance.md. Peers run where ATMAND_PEERS_PYTHON names an
interpreter with backtesting, vectorbt and ta-lib, and ATMAND_NAUTILUS_PYTHON one (3.12 or later) with nautilus_trader.
It fails if the compiled loop and the record-driven core differ in a single order.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from atmand.start import prepare_compiler

prepare_compiler(None)

import numpy as np  # noqa: E402
from _report import Report, Target, count, table  # noqa: E402
from _series import BARS, columns, opened  # noqa: E402
from _turns import Contestant, take_turns  # noqa: E402

from atmand.research.bar_driver import BarDriver, days_of  # noqa: E402

_OURS: Final = {"atmand": "atmand", "limit": "limit", "limit, in registers": "registers"}
_PEERS: Final = {
    "TA-Lib, Python loop": ("talib", "ATMAND_PEERS_PYTHON", {1: 9, 50: 5}),
    "vectorbt": ("vectorbt", "ATMAND_PEERS_PYTHON", {1: 5, 50: 2}),
    "backtesting.py": ("backtesting", "ATMAND_PEERS_PYTHON", {1: 3}),
    "nautilus_trader, no orders": ("nautilus-quiet", "ATMAND_NAUTILUS_PYTHON", {1: 1}),
    "nautilus_trader": ("nautilus", "ATMAND_NAUTILUS_PYTHON", {1: 1}),
}
_TURNS: Final = {1: 15, 50: 5}
_AIM_OF_LIMIT: Final = 0.5
_AIM_START_S: Final = 0.8
_DEFINITION: Final = """RSI(14) and MACD(12, 26, 9) on {bars} one-minute bars a symbol (a generated random walk on the
5-paise tick, sessions of 375 minutes): in when MACD's histogram crosses above 0 and RSI is below 70, out when it
crosses below 0 or RSI is above 80; long, held over night. *Ours* is `Batch.run` on laid-out bars: an order table with
its transitions, fills at the next bar's open and half the spread, every cost of a delivery trade in paise, limits of
book and portfolio that are checked and never bind, an equity curve, every trade and fill. Each contestant is a process
of its own; they take turns, medians. *First result* is from the start of a process to its first result with every
cache filled; *memory* the most that the process ever had, its bars included. *Limit* is the prototype's loop with four
indicators, all in at the close with one proportional cost; *in registers* has only the two indicators that the rules
need. Peers fill at the close too, and vectorbt smooths RSI in another way, so their orders differ by a few;
nautilus_trader works every order through its account and message bus, without costs."""


def main() -> int:
    report = Report("backtest", "Back-test")
    rows: list[list[str]] = []
    targets: list[Target] = []
    for symbols in _TURNS:
        ran, missing = _compare(symbols)
        rows += _rows(report, symbols, ran)
        rows += [[f"{symbols}: {who}", why, *[""] * 6] for who, why in missing.items()]
        if symbols == 1:
            targets = _targets(ran)
    head = ["symbols: who", "bars/s", "of the limit", "orders", "ns a bar", "first result, s", "memory, MB", "turns"]
    report.write(
        _DEFINITION.format(bars=f"{BARS:,}"),
        table(head, rows),
        "The core driven record by record made the same orders at the same prices as the compiled loop, by their "
        "fingerprints, with 1 symbol and with 50.",
        targets=targets,
    )
    return 0


def _compare(symbols: int) -> tuple[dict[str, Contestant], dict[str, str]]:
    """Run all contestants that are there; say of the others why they are not."""
    ran: dict[str, Contestant] = {}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "bars.npy")
        data = columns(symbols, BARS)
        np.save(path, data)
        for who, name in _OURS.items():
            take_turns({who: Contestant(sys.executable, "_contestants.py", name, path, turns=0)})  # fills the cache
            ran[who] = Contestant(sys.executable, "_contestants.py", name, path, turns=_TURNS[symbols])
        for who, (name, variable, turns) in _PEERS.items():
            python = os.environ.get(variable)
            if symbols not in turns:
                missing[who] = "too slow"
            elif python is None:
                missing[who] = f"{variable} not set"
            else:
                if name == "vectorbt":
                    take_turns({who: Contestant(python, "_peers.py", name, path, turns=0)})
                ran[who] = Contestant(python, "_peers.py", name, path, turns=turns[symbols])
        take_turns(ran)
        _check(data, ran["atmand"].first["fingerprint"])
    return ran, missing


def _check(data: Any, fingerprint: int) -> None:
    """Refuse to report a loop that does not do what the record-driven core does."""
    program, market, (times, grid, present) = opened(data)
    driver = BarDriver(program, market, lambda _: None)
    for day, places in days_of(times):
        driver.open(day)
        driver.run(grid[places], present[places])
    driven = int(driver.engine.header["fingerprint"])
    if driven != fingerprint:
        raise SystemExit(f"the loop's orders ({fingerprint:016x}) are not the core's ({driven:016x})")
    print(f"fingerprint {driven:016x}: equal", file=sys.stderr)


def _rows(report: Report, symbols: int, ran: dict[str, Contestant]) -> list[list[str]]:
    rows = []
    bars = symbols * BARS
    for who, one in ran.items():
        rate, share = bars / one.median_s, ran["limit"].median_s / one.median_s
        orders = one.first["orders"]
        what = "1 symbol" if symbols == 1 else f"{symbols} symbols"
        more = {"orders": orders, "first_s": one.first_s, "peak_mb": one.peak_mb, "turns": one.turns}
        report.figure(who, what, rate, "bars/s", of_limit=share, **more)
        rows.append([
            f"{symbols}: {who}", count(rate), f"{share:.3g}", f"{orders:,}", count(one.median_s / bars * 1e9),
            f"{one.first_s:.2f}", count(one.peak_mb), str(one.turns),
        ])  # fmt: skip
    return rows


def _targets(ran: dict[str, Contestant]) -> list[Target]:
    ours, limit = ran["atmand"], ran["limit"]
    share = limit.median_s / ours.median_s
    peers = {who: one for who, one in ran.items() if who not in _OURS}
    rates = ", ".join(f"{who} {BARS / one.median_s / 1e6:.3g} M" for who, one in peers.items())
    firsts = ", ".join(f"{who} {one.first_s:.1f}" for who, one in peers.items())
    return [
        Target(
            f"back-test, {BARS:,} one-minute bars, bars/s",
            rates or "none was there",
            f"{BARS / limit.median_s / 1e6:.0f} M",
            f"{BARS / ours.median_s / 1e6:.1f} M, {share:.2f} of the limit",
            f"{_AIM_OF_LIMIT} of the limit",
            share >= _AIM_OF_LIMIT,
        ),
        Target(
            "process start to first result, warm cache, s",
            firsts or "none was there",
            f"{limit.first_s:.2f}",
            f"{ours.first_s:.2f}",
            f"{_AIM_START_S}",
            ours.first_s <= _AIM_START_S,
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
