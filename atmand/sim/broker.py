"""The simulated broker: takes orders in anything listed, refuses what exchanges refuse, and matches at the touch.

Sans-I/O: `orders_rest.py` spells the calls, the server asks for a match after every step and pushes what changed. The
words of statuses and refusals are the broker's (kite.trade/docs, Orders).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from atmand.market.sessions import FUTURES, OPTIONS, session_date, windows
from atmand.sim.account import Account, Security
from atmand.sim.contracts import UNDERLYINGS
from atmand.sim.exchange import Exchange
from atmand.sim.universe import COMPANIES
from atmand.sim.wire import FULL

__all__ = ["Broker", "Fill", "Order", "OrderError"]

_SECOND: Final = 1_000_000_000
_CASH: Final = 1_000_000_000
"""Paise that the account begins with."""

_PROTECTED_FROM: Final = dt.date(2026, 4, 1)
"""Market orders without protection are refused from this day on (SEBI's rules for algorithmic orders of retail)."""

_AUTO_PROTECTION: Final = 3
_SQUARE_OFF_NS: Final = 10 * 60 * _SECOND
"""MIS positions are closed so long before their segment's end."""

_RANGE_SHARE: Final = 40
_RANGE_PAISE: Final = 2_000
"""An option's order must be within 40 percent of the last price, or 20 rupees where that is 50 or less."""

_TYPES: Final = ("MARKET", "LIMIT", "SL", "SL-M")


class OrderError(Exception):
    """A call that is refused before there is an order: the broker's error type and message."""

    def __init__(self, kind: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.kind, self.message, self.status = kind, message, status


@dataclass(eq=False)
class Order:
    """One order of the day."""

    id: str
    security: Security
    side: int
    quantity: int
    product: str
    type: str
    price: int
    trigger: int
    validity: str
    protection: int
    tag: str
    placed_ns: int
    status: str = "OPEN"
    message: str = ""
    filled: int = 0
    value: int = 0
    cancelled: int = 0
    updated_ns: int = 0
    modified: int = 0

    @property
    def working(self) -> bool:
        return self.status in ("OPEN", "TRIGGER PENDING")

    @property
    def pending(self) -> int:
        return self.quantity - self.filled - self.cancelled if self.working else 0


@dataclass(frozen=True)
class Fill:
    """One trade of an order."""

    id: str
    order: Order
    quantity: int
    price: int
    time_ns: int


class Broker:
    """The orders of one account on one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.account = Account(_CASH)
        self.orders: dict[str, Order] = {}
        self.fills: list[Fill] = []
        self._changed: list[Order] = []
        self._number = 0
        self._day = exchange.session
        self._settled: dt.date | None = None
        self._close_ns = self._closing()

    def place(self, form: Mapping[str, str]) -> Order:
        """Take a new order. OrderError before there is one; an exchange's refusal is an order that is REJECTED."""
        security = self.security_of(f"{form.get('exchange', '')}:{form.get('tradingsymbol', '')}")
        if security is None:
            raise OrderError("InputException", "Invalid `tradingsymbol`")
        order = self._order_of(form, security)
        self._check(order)
        self._number += 1
        order.id = f"{(self._day or dt.date.min):%y%m%d}{self._number:09d}"
        self.orders[order.id] = order
        refusal = self._exchange_refusal(order)
        if refusal:
            order.status, order.message = "REJECTED", refusal
        self._note(order)
        return order

    def modify(self, order_id: str, form: Mapping[str, str]) -> Order:
        """Change a working order; an exchange's refusal leaves it as it was."""
        order = self._working(order_id)
        before = order.quantity, order.price, order.trigger, order.type
        order.quantity = _whole(form, "quantity", order.quantity)
        order.price, order.trigger = _paise(form, "price", order.price), _paise(form, "trigger_price", order.trigger)
        order.type = form.get("order_type", order.type)
        try:
            self._check(order)
            refusal = self._exchange_refusal(order)
            if refusal or order.quantity <= order.filled:
                raise OrderError("OrderException", refusal or "Quantity is filled already", 500)
        except OrderError:
            order.quantity, order.price, order.trigger, order.type = before
            raise
        order.modified += 1
        self._note(order)
        return order

    def cancel(self, order_id: str) -> Order:
        """Take a working order back."""
        order = self._working(order_id)
        self._end(order, "CANCELLED", "")
        return order

    def step(self) -> list[Order]:
        """Match at market time, end what has ended, and return the orders that have changed since."""
        now_ns = self.exchange.now_ns
        working = [order for order in self.orders.values() if order.working and order.placed_ns < now_ns]
        for order in working:
            self._match(order)
        self._square_off(now_ns)
        self._end_of_day(now_ns)
        changed, self._changed = list(dict.fromkeys(self._changed)), []
        return changed

    def security_of(self, key: str) -> Security | None:
        """Return what a key such as `NFO:NIFTY26JULFUT` means today; None for what cannot be traded."""
        column = self.exchange.column_of(key)
        if column is not None:
            return self._share(column)
        column = self.exchange.contract_of(key)
        return None if column is None else self._contract(column)

    def last_price(self, security: Security) -> int:
        """Return the last price in paise, 0 where there is none."""
        row = self._packet(security)
        return 0 if row is None else int(row["last_price"])

    def _share(self, column: int) -> Security | None:
        market = self.exchange.market
        listing = market.listings[column]
        if listing.is_index:
            return None
        reference = market.reference(self.exchange.session or market.first_session())
        limits = (int(reference.tick[column]), int(reference.lower[column]), int(reference.upper[column]))
        return Security(listing.token, listing.exchange, listing.symbol, listing.isin, 1, 0, *limits, -1, "", 0, 0, 0)

    def _contract(self, column: int) -> Security:
        chain = self.exchange.desk().chain
        contracts = chain.contracts
        row, underlying = contracts.rows[column], UNDERLYINGS[int(contracts.rows["underlying"][column])]
        share = "" if underlying.company is None else COMPANIES[underlying.company].symbol
        return Security(
            token=int(row["token"]),
            exchange=underlying.exchange,
            symbol=contracts.symbols[column],
            isin="",
            lot=int(row["lot"]),
            freeze=int(row["freeze"]),
            tick=int(row["tick"]),
            lower=int(chain.lower[column]),
            upper=int(chain.upper[column]),
            underlying=int(row["underlying"]),
            share=share,
            expiry=int(row["expiry"]),
            strike=int(row["strike"]),
            right=int(row["right"]),
        )

    def _order_of(self, form: Mapping[str, str], security: Security) -> Order:
        side = {"BUY": 1, "SELL": -1}.get(form.get("transaction_type", ""))
        if side is None:
            raise OrderError("InputException", "Invalid `transaction_type`")
        return Order(
            id="",
            security=security,
            side=side,
            quantity=_whole(form, "quantity", 0),
            product=form.get("product", ""),
            type=form.get("order_type", ""),
            price=_paise(form, "price", 0),
            trigger=_paise(form, "trigger_price", 0),
            validity=form.get("validity", "DAY"),
            protection=_whole(form, "market_protection", 0),
            tag=form.get("tag", ""),
            placed_ns=self.exchange.now_ns,
            status="TRIGGER PENDING" if form.get("order_type", "").startswith("SL") else "OPEN",
        )

    def _check(self, order: Order) -> None:
        """Refuse what the broker itself refuses."""
        security = order.security
        products = ("NRML", "MIS") if security.derivative else ("CNC", "MIS")
        if order.product not in products:
            raise OrderError("InputException", f"Invalid `product`: {security.exchange} takes {' and '.join(products)}")
        if order.type not in _TYPES or order.validity not in ("DAY", "IOC"):
            raise OrderError("InputException", "Invalid `order_type` or `validity`")
        if order.quantity <= 0 or order.quantity % security.lot:
            raise OrderError("InputException", f"Quantity should be in multiples of the lot size, {security.lot}")
        priced = {"price": order.type in ("LIMIT", "SL"), "trigger_price": order.type.startswith("SL")}
        for name, price in (("price", order.price), ("trigger_price", order.trigger)):
            if priced[name] and (price <= 0 or price % security.tick):
                raise OrderError("InputException", f"`{name}` should be in multiples of the tick {security.tick / 100}")
        day = session_date(self.exchange.now_ns)
        if order.type in ("MARKET", "SL-M") and day >= _PROTECTED_FROM and order.protection == 0:
            raise OrderError("InputException", "Market orders without `market_protection` are not allowed via API")
        if self.exchange.current_day() is None or self._day_is_over():
            raise OrderError("OrderException", "Markets are closed right now. Use an AMO order", 400)

    def _exchange_refusal(self, order: Order) -> str:
        """Return the words of an exchange's or the risk system's refusal, empty for none."""
        security = order.security
        if security.freeze and order.quantity > security.freeze:
            return f"Quantity exceeds the freeze quantity, {security.freeze}"
        if order.product == "CNC" and order.side < 0 and order.quantity > self.account.may_sell(security):
            return "Insufficient holdings to sell"
        if order.type in ("MARKET", "SL-M"):
            return ""
        low, high = self._range(security)
        if not low <= order.price <= high:
            return f"The price is out of the current circuit limits, {low / 100} to {high / 100}"
        return ""

    def _range(self, security: Security) -> tuple[int, int]:
        """Return the prices that an order may have now: the day's limits, an option's also round its last price."""
        low, high = security.lower, security.upper
        last = self.last_price(security) if security.option else 0
        if last:
            reach = last * _RANGE_SHARE // 100 if last > 5_000 else _RANGE_PAISE
            low, high = max(low, last - reach), min(high, last + reach)
        return low, high

    def _working(self, order_id: str) -> Order:
        order = self.orders.get(order_id)
        if order is None:
            raise OrderError("OrderException", "Couldn't find that `order_id`.", 404)
        if not order.working:
            raise OrderError("OrderException", "Order cannot be modified as it is being processed.", 400)
        return order

    def _packet(self, security: Security) -> np.void | None:
        token = security.token
        column = self.exchange.column_of(token)
        if column is not None:
            packets, _ = self.exchange.state(np.array([column]))
        else:
            place = self.exchange.contract_of(token)
            packets, _ = self.exchange.contract_state(np.array([] if place is None else [place], np.int64))
        return packets[0].view(FULL)[0] if len(packets) else None

    def _match(self, order: Order) -> None:
        """Fill an order against the levels that stand now, as far as its limit reaches."""
        row = self._packet(order.security)
        if row is None:
            return
        if order.status == "TRIGGER PENDING":
            if (int(row["last_price"]) - order.trigger) * order.side < 0:
                return
            order.status = "OPEN"
            self._note(order)
        for level in row["sell" if order.side > 0 else "buy"]:
            price, size = int(level["price"]), int(level["quantity"])
            if not size or not self._reaches(order, row, price):
                break
            self._fill(order, min(size, order.pending), price)
            if not order.working:
                return
        if order.validity == "IOC":
            self._end(order, "CANCELLED", "")

    def _reaches(self, order: Order, row: np.void, price: int) -> bool:
        if order.type in ("LIMIT", "SL"):
            return (order.price - price) * order.side >= 0
        share = _AUTO_PROTECTION if order.protection <= 0 else order.protection
        last = int(row["last_price"])
        return (price - last) * order.side <= max(last * share // 100, order.security.tick)

    def _fill(self, order: Order, quantity: int, price: int) -> None:
        order.filled += quantity
        order.value += quantity * price
        self.account.fill(order.security, order.product, order.side, quantity, price)
        self.fills.append(Fill(f"{len(self.fills) + 1:08d}", order, quantity, price, self.exchange.now_ns))
        if order.filled == order.quantity:
            order.status = "COMPLETE"
        self._note(order)

    def _end(self, order: Order, status: str, message: str) -> None:
        order.cancelled, order.status, order.message = order.pending, status, message
        self._note(order)

    def _note(self, order: Order) -> None:
        order.updated_ns = self.exchange.now_ns
        self._changed.append(order)

    def _square_off(self, now_ns: int) -> None:
        """Close what is held for the day, a while before its segment ends, at the touch."""
        for position in list(self.account.positions.values()):
            if position.product != "MIS" or not position.quantity:
                continue
            if now_ns < self._closes(position.security) - _SQUARE_OFF_NS:
                continue
            row, side = self._packet(position.security), -1 if position.quantity > 0 else 1
            if row is None:
                continue
            touch = int(row["sell" if side > 0 else "buy"][0]["price"]) or int(row["last_price"])
            self.account.fill(position.security, "MIS", side, abs(position.quantity), touch)

    def _closes(self, security: Security) -> int:
        day = self._day or session_date(self.exchange.now_ns)
        group = (OPTIONS if security.option else FUTURES) if security.derivative else None
        hours = windows(day, group=group) if group is not None else windows(day)
        ends = [window.close_ns for window in hours if group is not None or window.group < FUTURES]
        return min(ends, default=self.exchange.now_ns) if group is None else max(ends)

    def _closing(self) -> int:
        """Return when the last of the session's segments ends."""
        return 0 if self._day is None else self.exchange.market.windows(self._day)[-1][1]

    def _day_is_over(self) -> bool:
        return self._settled == self._day

    def _end_of_day(self, now_ns: int) -> None:
        """At the close orders lapse and contracts settle; with the next session its units and an empty book begin."""
        market, day = self.exchange.market, self._day
        if day is not None and self._settled != day and now_ns >= self._close_ns:
            for order in self.orders.values():
                if order.working:
                    self._end(order, "CANCELLED", "Order lapsed at the end of the session")
            closes = market.closes(day)
            self.account.end_session(self.last_price)
            self.account.settle(day, lambda security: _final_price(security, int(closes[security.underlying])))
            self._settled = day
        if self.exchange.session != day:
            self._begin(day, self.exchange.session)

    def _begin(self, before: dt.date | None, today: dt.date | None) -> None:
        self._day = today
        self._close_ns = self._closing()
        self.orders.clear()
        self.fills.clear()
        self._changed.clear()
        if before is None or today is None or self.exchange.contracts is None:
            return
        shares = {*self.account.holdings, *(one.security.share for one in self.account.positions.values())}
        for symbol in sorted(shares - {""}):
            factor = self.exchange.market.became(symbol, before, today)
            if factor != 1:
                columns = [self.exchange.contract_of(token) for token, _ in self.account.positions]
                self.account.become(symbol, factor, [self._contract(at) for at in columns if at is not None])


def _final_price(security: Security, close: int) -> int:
    """Return the final settlement price: an option's inside value, for a future the close itself."""
    return max(security.right * (close - security.strike), 0) if security.option else close


def _whole(form: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(form.get(name, default))
    except ValueError:
        raise OrderError("InputException", f"Invalid `{name}`") from None


def _paise(form: Mapping[str, str], name: str, default: int) -> int:
    text: Any = form.get(name)
    if text in (None, ""):
        return default
    try:
        return round(float(text) * 100)
    except (ValueError, OverflowError):
        raise OrderError("InputException", f"Invalid `{name}`") from None
