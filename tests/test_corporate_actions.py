"""A split overnight in the daemon: books, ledger and look-backs go on in the new units, under the new name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from atmand.core.opening import BookLimits
from atmand.corporate_actions import CorporateActions
from atmand.errors import AtmandError
from atmand.history.actions import ACTIONS
from atmand.history.bars import BAR
from atmand.lang.build import build
from atmand.lang.program import Deployment, generate
from atmand.lang.strategy import parse_strategy
from atmand.ledger.catch_up import events
from atmand.ledger.fold import Opening
from atmand.market.instruments import Instrument
from atmand.market.sessions import ns
from atmand.past import FoldedPast
from atmand.research.bar_driver import BarDriver, DrivenMarket
from atmand.settings import load
from atmand.trading import Trading
from atmand.universe import Universe
from atmand.wiring import JOURNAL

DAYS = (date(2026, 7, 6), date(2026, 7, 7))
SPLIT = '[[action]]\nkind = "split"\ninstrument = "NSE:EQ:{key}"\nex_date = 2026-07-07\nratio = "5:1"\n'
RENAME = '[[action]]\nkind = "symbol"\ninstrument = "NSE:EQ:AAA"\nex_date = 2026-07-07\nto = "NSE:EQ:BBB"\n'
HOLDER = """name = "holder"
universe = ["NSE:AAA"]
[trade]
product = "CNC"
[entry]
long = "close > sma(5)"
[size]
quantity = 10
"""


def share(symbol: str) -> Instrument:
    return Instrument(
        key=f"NSE:EQ:{symbol}", isin="", token=257, exchange="NSE", segment="EQ", symbol=symbol, name=symbol,
        price_scale=100, tick=5, lot=1, freeze=0, lower_band=0, upper_band=0, tradable=True, sector="",
    )  # fmt: skip


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "history").mkdir()
    return tmp_path


@pytest.fixture
def held() -> Iterator[tuple[Any, dict[str, Any]]]:
    """The program, and its books after a first day that ended with ten shares."""
    program = build(generate([Deployment(parse_strategy(HOLDER, Path("holder.toml")), "paper")]))
    driver = BarDriver(program, DrivenMarket([(share("AAA"), 0)], [(0, 0)], [BookLimits(10**9)]), lambda _: None)
    bars = np.zeros((30, 1), BAR)
    bars["start_ns"][:, 0] = ns(DAYS[0], "09:15") + 60_000_000_000 * np.arange(30)
    for name in ("open", "high", "low", "close"):
        bars[name][:, 0] = 100_000 + 10 * np.arange(30)
    bars["volume"] = 1_000
    driver.open(DAYS[0])
    driver.run(bars, np.ones((30, 1), np.bool_))
    yield program, driver.engine.books()


def opened(state: Path, program: Any, books: dict[str, Any], symbol: str) -> Trading:
    configuration = state / "atmand.toml"
    (state / "holder.toml").write_text(HOLDER)
    configuration.write_text(
        f'[instance]\nstate = "{state}"\n[accounts.paper]\n'
        '[strategies.holder]\nfile = "holder.toml"\naccount = "paper"\ncapital_rupees = 1000000\n'
    )
    trading = Trading(load(configuration))
    universe = Universe(((share(symbol), 0),), ((0, 0),), b"")
    trading.keep_past(FoldedPast((), books), universe, program)
    trading.open_session(DAYS[1], universe, program, ns(DAYS[1], "09:00"), simulated=True, bar_path=False, seed=1)
    trading.writer.close()
    return trading


@pytest.mark.parametrize("symbol", ["AAA", "BBB"])
def test_an_open_position_goes_on_in_the_new_units_and_under_the_new_name(
    state: Path, held: tuple[Any, dict[str, Any]], symbol: str
) -> None:
    program, books = held
    before = next(row for row in books["pairs"] if row["quantity"])
    assert before["quantity"] == 10
    (state / "history" / ACTIONS).write_text(SPLIT.format(key="AAA") + (RENAME if symbol == "BBB" else ""))
    with capture_logs() as told:
        trading = opened(state, program, books, symbol)
    pair = trading.engine.table("pairs")[0]
    assert (pair["quantity"], pair["entry_quantity"], pair["value_paise"]) == (50, 50, before["value_paise"])
    assert next(one["instrument"] for one in told if one["event"] == "corporate_action") in (
        "NSE:EQ:AAA", f"NSE:EQ:{symbol}",
    )  # fmt: skip
    openings = [event for _, event in events(state / JOURNAL) if isinstance(event, Opening)]
    trades = [(key, trade.quantity, trade.held) for (_, key), trade in (openings[-1].open_trades or {}).items()]
    assert trades == [(f"NSE:EQ:{symbol}", 50, 50)]


def test_a_session_without_an_action_opens_as_before(state: Path, held: tuple[Any, dict[str, Any]]) -> None:
    program, books = held
    trading = opened(state, program, books, "AAA")
    assert trading.engine.table("pairs")[0]["quantity"] == 10


def test_a_file_that_breaks_while_the_daemon_runs_is_told_and_what_it_said_holds(state: Path) -> None:
    path = state / "history" / ACTIONS
    path.write_text(SPLIT.format(key="AAA"))
    actions = CorporateActions(path.parent)
    path.write_text("[[action]]\nkind = 'gift'\n")
    with capture_logs() as told:
        found = actions.until(DAYS[1], {"date": 20260706})
    assert [one.new for one in found.actions] == [5]
    assert [one["event"] for one in told] == ["actions_refused"]
    with pytest.raises(AtmandError, match="action 1: kind"):
        CorporateActions(path.parent)
