"""Ten sessions of the simulated market in one run: a holiday, new dumps, deliveries, a roll, expiries, a split."""

from __future__ import annotations

import datetime as dt

from atmand.market.sessions import ns
from atmand.sim.actions import SimAction
from atmand.sim.broker import Broker, Order
from atmand.sim.exchange import Exchange
from atmand.sim.generator import SeededMarket

FIRST, LAST = dt.date(2026, 6, 22), dt.date(2026, 7, 6)
EXPIRY, SPLIT_DAY = dt.date(2026, 6, 30), dt.date(2026, 7, 1)
SECOND = 10**9


class _Run:
    """A broker that is taken from session to session, and what its dumps listed."""

    def __init__(self) -> None:
        self.market = SeededMarket(7, actions=[SimAction(symbol="RELIANCE", ex_date=SPLIT_DAY, kind="split", new=5)])
        self.exchange = Exchange(self.market, ns(FIRST, "09:15"))
        self.broker = Broker(self.exchange)
        self.listed: dict[dt.date, set[str]] = {}

    @property
    def day(self) -> dt.date:
        assert self.exchange.session is not None
        return self.exchange.session

    def go_to(self, clock: str) -> None:
        self.exchange.advance(ns(self.day, clock))
        self.broker.step()

    def morning(self) -> None:
        assert self.exchange.contracts is not None
        self.listed[self.day] = set(self.exchange.contracts.symbols)
        self.go_to("10:00")

    def evening(self) -> None:
        for clock in ("15:30", "15:35"):
            self.go_to(clock)

    def buy(self, exchange: str, symbol: str, quantity: int, product: str) -> Order:
        form = {
            "exchange": exchange, "tradingsymbol": symbol, "transaction_type": "BUY", "quantity": str(quantity),
            "product": product, "order_type": "MARKET", "market_protection": "-1",
        }  # fmt: skip
        order = self.broker.place(form)
        while order.working:
            step = self.exchange.next_ns()
            assert step is not None
            self.exchange.advance(step)
            self.broker.step()
        assert order.status == "COMPLETE", order.message
        return order


def test_ten_sessions_through_everything_that_nights_do() -> None:
    run = _Run()
    account = run.broker.account
    sessions = []
    while len(sessions) < 10:
        sessions.append(run.day)
        run.morning()
        if run.day == FIRST:
            shares = run.buy("NSE", "RELIANCE", 10, "CNC")
            june = run.buy("NFO", "NIFTY26JUNFUT", 65, "NRML")
            july = run.buy("NFO", "RELIANCE26JULFUT", 525, "NRML")
            call = next(
                symbol for symbol in sorted(run.listed[FIRST]) if symbol.startswith("NIFTY26JUN2") and "CE" in symbol
            )
            option = run.buy("NFO", call, 65, "NRML")
        if len(sessions) == 2:
            held = account.holdings["RELIANCE"]
            assert (held.quantity, held.arriving) == (0, 10)  # bought yesterday: on its way
        if len(sessions) == 3:
            assert (held.quantity, held.arriving) == (10, 0)
        if run.day == SPLIT_DAY:
            (future,) = account.positions.values()
            assert (future.quantity, future.security.lot) == (july.quantity * 5, july.security.lot * 5)
            assert (account.holdings["RELIANCE"].quantity, account.holdings["RELIANCE"].value) == (50, shares.value)
        run.evening()

    assert sessions[-1] == LAST
    assert dt.date(2026, 6, 26) not in sessions  # Muharram
    close = int(run.market.closes(EXPIRY)[0])
    settled = {one.symbol: one for one in account.settlements}
    assert set(settled) == {"NIFTY26JUNFUT", call}
    assert {one.day for one in settled.values()} == {EXPIRY}
    assert settled["NIFTY26JUNFUT"].price == close
    assert settled[call].price == max(close - option.security.strike, 0)

    # Cash of the future: what it won from its purchase to its settlement, however often it was marked on the way.
    (future,) = account.positions.values()
    won = 65 * close - june.value + future.realised + settled[call].cash
    assert account.cash == 1_000_000_000 - shares.value - option.value + won

    before, after = run.listed[EXPIRY], run.listed[SPLIT_DAY]
    assert call in before - after
    assert "NIFTY26JUNFUT" in before - after
    assert "NIFTY26SEPFUT" in after - before
    for ended in (dt.date(2026, 6, 23), dt.date(2026, 6, 25), EXPIRY):  # Tuesdays on NFO, a Thursday on BFO
        following = sessions[sessions.index(ended) + 1]
        assert run.listed[ended] - run.listed[following]
        assert run.listed[following] - run.listed[ended]
