"""What the simulated broker's one account holds: positions, holdings, cash, and what nights and expiries make of them.

Money is paise. Costs are not charged: the daemon's own tables are what it is held to.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

__all__ = ["Account", "Holding", "Position", "Security", "Settlement"]


class Security(NamedTuple):
    """What an order names, as the broker knows it today."""

    token: int
    exchange: str
    symbol: str
    isin: str
    """Of a share; empty for anything else."""
    lot: int
    freeze: int
    tick: int
    lower: int
    upper: int
    underlying: int
    """Place in UNDERLYINGS of what a contract is written on, -1 for a share."""
    share: str
    """Symbol of the share that a contract is written on, empty for an index."""
    expiry: int
    """Ordinal of a contract's last day, 0 for a share."""
    strike: int
    right: int

    @property
    def derivative(self) -> bool:
        return self.underlying >= 0

    @property
    def option(self) -> bool:
        return self.right != 0


@dataclass
class Position:
    """One security under one product. `value` is what its net quantity cost, with its sign."""

    security: Security
    product: str
    quantity: int = 0
    value: int = 0
    realised: int = 0
    overnight: int = 0
    bought: int = 0
    bought_value: int = 0
    sold: int = 0
    sold_value: int = 0

    def trade(self, side: int, quantity: int, price: int) -> int:
        """Take a fill and return what it realises."""
        if side > 0:
            self.bought, self.bought_value = self.bought + quantity, self.bought_value + quantity * price
        else:
            self.sold, self.sold_value = self.sold + quantity, self.sold_value + quantity * price
        closing = min(quantity, abs(self.quantity)) if self.quantity * side < 0 else 0
        cost = self.value * closing // abs(self.quantity) if closing else 0
        realised = -(cost + side * closing * price) if closing else 0
        self.value += side * (quantity - closing) * price - cost
        self.quantity += side * quantity
        self.realised += realised
        return realised


@dataclass
class Holding:
    """Shares in the depository: `arriving` were bought the session before and are delivered with the next one."""

    symbol: str
    isin: str
    quantity: int = 0
    arriving: int = 0
    value: int = 0

    @property
    def total(self) -> int:
        return self.quantity + self.arriving


class Settlement(NamedTuple):
    """How a contract ended: units with their sign, the price, and the shares that came or went."""

    symbol: str
    day: dt.date
    quantity: int
    price: int
    cash: int
    shares: int


@dataclass
class Account:
    """The account: it is told of fills, ends of sessions and corporate actions."""

    cash: int
    positions: dict[tuple[int, str], Position] = field(default_factory=dict)
    holdings: dict[str, Holding] = field(default_factory=dict)
    settlements: list[Settlement] = field(default_factory=list)

    def fill(self, security: Security, product: str, side: int, quantity: int, price: int) -> None:
        """Take a fill: shares and premiums are paid in full, a future only settles what it has won or lost."""
        position = self.positions.setdefault((security.token, product), Position(security, product))
        realised = position.trade(side, quantity, price)
        future = security.derivative and not security.option
        self.cash += realised if future else -side * quantity * price

    def may_sell(self, security: Security) -> int:
        """Return how many shares may be sold for delivery: those held, less those sold today."""
        holding = self.holdings.get(security.symbol)
        position = self.positions.get((security.token, "CNC"))
        return (holding.total if holding else 0) + (position.quantity if position else 0)

    def settle(self, day: dt.date, price_of: Callable[[Security], int]) -> None:
        """End the contracts whose last day it was: an index's in cash, a share's by delivery of what is worth it.

        `price_of` is the final settlement price: an option's inside value, a future's underlying close.
        """
        for key, position in list(self.positions.items()):
            security = position.security
            if not security.derivative or security.expiry > day.toordinal():
                continue
            if position.quantity:
                self.settlements.append(self._settled(position, day, price_of(security)))
            del self.positions[key]

    def _settled(self, position: Position, day: dt.date, price: int) -> Settlement:
        security, quantity = position.security, position.quantity
        if security.option:
            cash, paid = quantity * price, security.strike
        else:
            cash, paid = quantity * price - position.value, price
        shares = 0
        if security.share and (price > 0 or not security.option):
            # Who is long the share by the contract gets it and pays; the inside value is the rest of its price.
            shares = quantity * (security.right or 1)
            cash -= shares * (paid + (price * security.right if security.option else 0))
            self._deliver(security.share, shares, paid)
        self.cash += cash
        return Settlement(security.symbol, day, quantity, price, cash, shares)

    def _deliver(self, symbol: str, shares: int, price: int) -> None:
        holding = self.holdings.setdefault(symbol, Holding(symbol, ""))
        if shares >= 0:
            holding.arriving += shares
            holding.value += shares * price
        else:
            holding.value += holding.value * shares // max(holding.total, -shares)
            holding.quantity += shares

    def end_session(self, last_of: Callable[[Security], int]) -> None:
        """Close a session's books: yesterday's shares are delivered, today's deliveries begin, futures are marked."""
        for holding in self.holdings.values():
            holding.quantity, holding.arriving = holding.total, 0
        for key, position in list(self.positions.items()):
            security = position.security
            if position.product == "CNC" and not security.derivative:
                self._into_holdings(position)
                del self.positions[key]
            elif position.quantity == 0:
                del self.positions[key]
            else:
                position.overnight = position.quantity
                position.bought = position.sold = position.bought_value = position.sold_value = 0
                if not security.option and security.derivative:
                    worth = position.quantity * last_of(security)
                    self.cash += worth - position.value
                    position.realised += worth - position.value
                    position.value = worth
        self.holdings = {symbol: holding for symbol, holding in self.holdings.items() if holding.total}

    def _into_holdings(self, position: Position) -> None:
        symbol = position.security.symbol
        holding = self.holdings.setdefault(symbol, Holding(symbol, position.security.isin))
        holding.isin = position.security.isin
        if position.quantity >= 0:
            holding.arriving += position.quantity
            holding.value += position.value
        else:
            holding.value -= holding.value * -position.quantity // max(holding.total, 1)
            holding.quantity += position.quantity

    def become(self, symbol: str, factor: Fraction, today: Iterable[Security]) -> None:
        """Apply a split or bonus: holdings and contracts of the share in its new units; `today` has what is listed."""
        if symbol in self.holdings:
            holding = self.holdings[symbol]
            holding.quantity = int(holding.quantity * factor)
            holding.arriving = int(holding.arriving * factor)
        listed = {security.token: security for security in today}
        for (token, _), position in self.positions.items():
            if position.security.share == symbol and token in listed:
                position.security = listed[token]
                position.quantity = int(position.quantity * factor)
                position.overnight = int(position.overnight * factor)
