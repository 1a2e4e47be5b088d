"""Orders on the simulated broker: what is refused, how the rest is matched, and what nights and expiries leave."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction
from typing import Any

import pytest
from sim_running import receive, running

from atmand.market.sessions import ns
from atmand.sim.account import Account, Security
from atmand.sim.actions import SimAction
from atmand.sim.broker import Broker, OrderError
from atmand.sim.contracts import UNDERLYINGS
from atmand.sim.exchange import Exchange
from atmand.sim.generator import SeededMarket

MONDAY, TUESDAY, WEDNESDAY = (dt.date(2026, 7, day) for day in (6, 7, 8))
NIFTY, RELIANCE = 0, 3


def _broker(market: SeededMarket, day: dt.date = MONDAY, clock: str = "11:00") -> Broker:
    exchange = Exchange(market, ns(day, clock))
    broker = Broker(exchange)
    _to(broker, exchange.now_ns + 10**9)
    return broker


def _to(broker: Broker, time_ns: int) -> list[Any]:
    """Let market time go on to a moment, the broker matching after every step."""
    changed: list[Any] = []
    while broker.exchange.now_ns < time_ns:
        step = broker.exchange.next_ns()
        assert step is not None
        broker.exchange.advance(min(step, time_ns))
        changed += broker.step()
    return changed


def _jump(broker: Broker, time_ns: int) -> None:
    """Go straight to a moment, as an exchange without listeners may: matching sees what stands then."""
    broker.exchange.advance(time_ns)
    broker.step()


def _form(symbol: str, side: str = "BUY", **fields: Any) -> dict[str, str]:
    form = {
        "exchange": "NFO", "tradingsymbol": symbol, "transaction_type": side, "quantity": "65", "product": "NRML",
        "order_type": "MARKET", "market_protection": "-1", "validity": "DAY",
    }  # fmt: skip
    return form | {name: str(value) for name, value in fields.items()}


def _option(broker: Broker, right: int = 1, order: int = 0, underlying: int = NIFTY) -> str:
    """Return the symbol of the option at the money."""
    contracts = broker.exchange.contracts
    assert contracts is not None
    rows = contracts.rows
    spot = int(broker.exchange.desk().session.spots[0, underlying])
    mine = [
        at
        for at, row in enumerate(rows)
        if row["underlying"] == underlying and row["right"] == right and row["order"] == order
    ]
    return contracts.symbols[min(mine, key=lambda at: abs(int(rows["strike"][at]) - spot))]


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"tradingsymbol": "NIFTY26JUL1CE"}, "InputException", "tradingsymbol"),
        ({"quantity": 64}, "InputException", "lot size, 65"),
        ({"quantity": 0}, "InputException", "lot size"),
        ({"product": "CNC"}, "InputException", "NRML and MIS"),
        ({"transaction_type": "HOLD"}, "InputException", "transaction_type"),
        ({"order_type": "LIMIT", "price": "100.03"}, "InputException", "tick"),
        ({"order_type": "LIMIT", "price": "inf"}, "InputException", "price"),
        ({"market_protection": 0}, "InputException", "market_protection"),
        ({"validity": "TTL"}, "InputException", "validity"),
    ],
)
def test_a_call_that_the_broker_refuses_makes_no_order(
    market: SeededMarket, fields: dict[str, Any], kind: str, words: str
) -> None:
    broker = _broker(market)
    with pytest.raises(OrderError) as refusal:
        broker.place(_form(_option(broker)) | {name: str(value) for name, value in fields.items()})
    assert refusal.value.kind == kind
    assert words in refusal.value.message
    assert not broker.orders


def test_the_exchange_rejects_too_much_at_once_and_prices_out_of_range(market: SeededMarket) -> None:
    broker = _broker(market)
    symbol = _option(broker)
    last = broker.last_price(broker.security_of(f"NFO:{symbol}"))  # type: ignore[arg-type]
    frozen = broker.place(_form(symbol, quantity=65 * 28))
    far = broker.place(_form(symbol, order_type="LIMIT", price=round(last * 1.6 / 5) * 5 / 100))
    whole = broker.place(_form(symbol, quantity=65 * 27))
    assert (frozen.status, far.status, whole.status) == ("REJECTED", "REJECTED", "OPEN")
    assert "freeze quantity, 1800" in frozen.message
    assert "circuit limits" in far.message
    short = broker.place(_form("INFY", "SELL", exchange="NSE", quantity=1, product="CNC"))
    assert short.message == "Insufficient holdings to sell"


def test_orders_match_at_the_touch_of_the_next_step_and_can_be_changed_until_then(market: SeededMarket) -> None:
    broker = _broker(market)
    symbol = _option(broker)
    security = broker.security_of(f"NFO:{symbol}")
    assert security is not None
    last = broker.last_price(security)
    below, above = last // 50 * 40 / 100, last // 50 * 60 / 100
    bought = broker.place(_form(symbol))
    assert bought.filled == 0
    low = broker.place(_form(symbol, order_type="LIMIT", price=below))
    at_once = broker.place(_form(symbol, order_type="LIMIT", price=below, validity="IOC"))
    stop = broker.place(_form(symbol, "SELL", order_type="SL", price=below, trigger_price=below))
    _to(broker, broker.exchange.now_ns + 5 * 10**9)
    assert [order.status for order in (bought, low, at_once, stop)] == [
        "COMPLETE", "OPEN", "CANCELLED", "TRIGGER PENDING",
    ]  # fmt: skip
    packet = broker._packet(security)
    assert packet is not None
    assert bought.value / bought.filled == pytest.approx(float(packet["sell"]["price"][0]), rel=0.03)
    broker.modify(low.id, {"price": str(above)})
    broker.cancel(stop.id)
    _to(broker, broker.exchange.now_ns + 3 * 10**9)
    assert (low.status, stop.status) == ("COMPLETE", "CANCELLED")
    with pytest.raises(OrderError, match="being processed"):
        broker.cancel(low.id)
    (position,) = broker.account.positions.values()
    assert (position.quantity, position.value) == (130, bought.value + low.value)
    assert broker.account.cash == 1_000_000_000 - position.value


def test_index_options_settle_in_cash_to_the_paisa_and_leave_the_next_dump(market: SeededMarket) -> None:
    broker = _broker(market, TUESDAY, "14:00")
    symbols = [_option(broker), _option(broker, -1)]
    orders = [broker.place(_form(symbols[0])), broker.place(_form(symbols[1], "SELL"))]
    resting = broker.place(_form("NIFTY26JULFUT", order_type="LIMIT", price="23500.00"))
    _to(broker, broker.exchange.now_ns + 20 * 10**9)
    assert [order.status for order in (*orders, resting)] == ["COMPLETE", "COMPLETE", "OPEN"]
    cash = broker.account.cash
    _jump(broker, ns(TUESDAY, "15:30"))
    close = market.reference(WEDNESDAY).close_before[100]
    strike = orders[0].security.strike
    inside = max(close - strike, 0), max(strike - close, 0)
    assert {(one.symbol, one.price, one.shares) for one in broker.account.settlements} == {
        (symbols[0], inside[0], 0),
        (symbols[1], inside[1], 0),
    }
    assert broker.account.cash == cash + 65 * inside[0] - 65 * inside[1]
    assert not broker.account.positions
    assert resting.status == "CANCELLED"
    with pytest.raises(OrderError, match="closed"):
        broker.place(_form(symbols[0]))
    _jump(broker, ns(TUESDAY, "15:35"))
    assert broker.security_of(f"NFO:{symbols[0]}") is None
    assert not broker.orders


def test_a_shares_future_is_delivered_and_shares_that_were_bought_arrive_two_sessions_later(
    market: SeededMarket,
) -> None:
    last_day, following = dt.date(2026, 7, 28), dt.date(2026, 7, 29)
    broker = _broker(market, last_day)
    future = broker.place(_form("RELIANCE26JULFUT", quantity=525))
    shares = broker.place(_form("INFY", exchange="NSE", quantity=10, product="CNC"))
    _to(broker, broker.exchange.now_ns + 2 * 10**9)
    assert (future.status, shares.status) == ("COMPLETE", "COMPLETE")
    before = broker.account.cash
    _jump(broker, ns(last_day, "15:30"))
    _jump(broker, ns(last_day, "15:35"))
    close = int(market.closes(last_day)[RELIANCE])
    (settled,) = broker.account.settlements
    assert (settled.shares, settled.price) == (525, close)
    assert broker.account.cash - before == 525 * close - future.value - 525 * close
    holding = broker.account.holdings["INFY"]
    assert (holding.quantity, holding.arriving, holding.value) == (0, 10, shares.value)
    assert broker.account.holdings["RELIANCE"].total == 525
    _jump(broker, ns(following, "11:00"))
    sold = broker.place(_form("INFY", "SELL", exchange="NSE", quantity=10, product="CNC"))
    assert sold.status == "OPEN"
    _to(broker, broker.exchange.now_ns + 2 * 10**9)
    _jump(broker, ns(following, "15:30"))
    assert "INFY" not in broker.account.holdings
    assert broker.account.holdings["RELIANCE"].quantity == 525


def test_mis_is_closed_by_the_broker_before_the_end(market: SeededMarket) -> None:
    broker = _broker(market)
    order = broker.place(_form(_option(broker, order=1), product="MIS"))
    _to(broker, broker.exchange.now_ns + 10**9)
    (position,) = broker.account.positions.values()
    assert position.quantity == 65
    _jump(broker, ns(MONDAY, "15:19"))
    assert position.quantity == 65
    _jump(broker, ns(MONDAY, "15:20"))
    assert position.quantity == 0
    assert position.realised == broker.account.cash - 1_000_000_000
    assert order.status == "COMPLETE"


def test_a_split_changes_what_is_held_and_not_its_cost() -> None:
    market = SeededMarket(11, actions=[SimAction(symbol="RELIANCE", ex_date=WEDNESDAY, kind="split", new=5)])
    broker = _broker(market, TUESDAY)
    lot = 525
    future = broker.place(_form("RELIANCE26JULFUT", quantity=lot))
    shares = broker.place(_form("RELIANCE", exchange="NSE", quantity=10, product="CNC"))
    _to(broker, broker.exchange.now_ns + 2 * 10**9)
    assert (future.status, shares.status) == ("COMPLETE", "COMPLETE")
    _jump(broker, ns(TUESDAY, "15:30"))
    _jump(broker, ns(TUESDAY, "15:35"))
    (position,) = broker.account.positions.values()
    assert position.quantity == position.overnight == lot * 5
    assert position.security.lot == lot * 5
    holding = broker.account.holdings["RELIANCE"]
    assert (holding.total, holding.value) == (50, shares.value)


def _security(strike: int, right: int, share: str) -> Security:
    underlying = RELIANCE if share else NIFTY
    return Security(1, "NFO", "X", "", 50, 1800, 5, 5, 100_000, underlying, share, TUESDAY.toordinal(), strike, right)


@pytest.mark.parametrize(
    ("right", "quantity", "price", "cash", "shares"),
    [
        (1, 50, 4_000, -50 * 96_000, 50),  # a call that is exercised: 50 shares are paid at the strike
        (1, -50, 4_000, 50 * 96_000, -50),
        (-1, 50, 4_000, 50 * 96_000, -50),
        (-1, -50, 4_000, -50 * 96_000, 50),
        (1, 50, 0, 0, 0),
    ],
)
def test_share_options_are_exercised_by_delivery_where_something_is_inside(
    right: int, quantity: int, price: int, cash: int, shares: int
) -> None:
    account = Account(0)
    side = 1 if quantity > 0 else -1
    account.fill(_security(96_000, right, UNDERLYINGS[RELIANCE].name), "NRML", side, abs(quantity), 1_000)
    premium = account.cash
    account.settle(TUESDAY, lambda _: price)
    assert (account.cash - premium, account.settlements[0].shares) == (cash, shares)
    assert (account.holdings["RELIANCE"].total if shares else 0) == shares
    account.become("RELIANCE", Fraction(2), [])
    assert (account.holdings["RELIANCE"].total if shares else 0) == shares * 2


async def test_orders_go_over_rest_and_come_back_on_the_ticker() -> None:
    start = dt.datetime(2026, 7, 6, 11, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))
    async with running(speed=20, start=start, seed=11) as sim, sim.data() as socket:
        await receive(socket, "instruments_meta")
        token = f"token {sim.settings.api_key}:{sim.settings.access_token.get_secret_value()}"
        headers = {"Authorization": token}
        form = _form("NIFTY26JULFUT", tag="a1")
        async with sim.http.post(f"{sim.url}/orders/regular", data=form, headers=headers) as answer:
            placed = await answer.json()
        order_id = placed["data"]["order_id"]
        while (pushed := (await receive(socket, "order"))["data"])["status"] != "COMPLETE":
            assert pushed["order_id"] == order_id
        assert (pushed["filled_quantity"], pushed["tag"], pushed["product"]) == (65, "a1", "NRML")
        _, orders = await sim.get("/orders")
        _, trades = await sim.get("/trades")
        _, positions = await sim.get("/portfolio/positions")
        assert orders["data"][0]["average_price"] == pushed["average_price"]
        assert sum(row["quantity"] for row in trades["data"]) == 65
        assert positions["data"]["net"][0]["quantity"] == 65
        status, quote = await sim.get("/quote", i="NFO:NIFTY26JULFUT")
        assert status == 200
        assert quote["data"]["NFO:NIFTY26JULFUT"]["oi"] > 0
        async with sim.http.post(
            f"{sim.url}/orders/regular", data=form | {"quantity": "1"}, headers=headers
        ) as refused:
            assert (refused.status, (await refused.json())["error_type"]) == (400, "InputException")
        status, unknown = await sim.get("/orders/77")
        assert (status, unknown["error_type"]) == (404, "OrderException")
