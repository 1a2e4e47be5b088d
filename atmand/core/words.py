"""The fixed vocabularies of the core's tables: order states, purposes, reasons, what a pair is doing.

They are written into audit records, so a number never changes its meaning.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "Activity",
    "ExpiryRule",
    "LegState",
    "OrderKind",
    "OrderState",
    "Percent",
    "Purpose",
    "Reason",
    "Side",
    "StepFlag",
    "StrikeRule",
]


class Side(IntEnum):
    BUY = 1
    SELL = -1


class OrderState(IntEnum):
    """An order's life; `core/orders.py` holds the table of allowed transitions."""

    FREE = 0
    INTENT = 1
    HELD = 2
    """Waits until our own opposite order, which it would cross, is out of the market."""
    SENT = 3
    OPEN = 4
    PARTIAL = 5
    FILLED = 6
    CANCELLED = 7
    REJECTED = 8
    EXPIRED = 9


class OrderKind(IntEnum):
    MARKET = 1
    """Always with a protection limit round the touch: exchanges refuse unprotected market orders of algorithms."""
    LIMIT = 2


class Purpose(IntEnum):
    ENTRY = 1
    EXIT = 2
    TARGET = 3


class Reason(IntEnum):
    """Why an order was made, ended or refused."""

    NONE = 0
    RULE = 1
    STOP = 2
    TARGET = 3
    SQUARE_OFF = 4
    COMMAND = 5
    ENTRY_EXPIRED = 10
    SESSION_END = 11
    REPLACED = 12
    ENTRIES_OFF = 20
    PAUSED = 21
    OUTSIDE_WINDOW = 22
    PARTIAL_BAR = 23
    NO_QUOTE = 24
    STALE = 25
    ZERO_QUANTITY = 26
    ORDER_VALUE = 27
    POSITION_VALUE = 28
    DAILY_LOSS = 29
    OPEN_POSITIONS = 30
    ORDERS_A_DAY = 31
    CASH = 32
    CAPACITY = 33
    BAND = 34
    FREEZE = 35
    SHORT_DELIVERY = 36
    SELF_CROSS = 37
    TRAIL = 50
    BREAKEVEN = 51
    BARS = 52
    """The trade was held for as many bars as its file allows."""
    REDUCE = 53
    ADD = 54
    COMBINED_STOP = 55
    COMBINED_TARGET = 56
    COMBINED_TRAIL = 57
    LEG_FAILED = 58
    """Another leg of the group could not be entered, so this one is left too."""
    EXPIRY = 59
    REENTRY = 80
    COOLDOWN = 81
    TRADES_A_DAY = 82
    CIRCUIT = 83
    """The price stands at its circuit limit on the side that would be bought or sold."""
    NO_CONTRACT = 84
    """No listed contract fits a leg's rule."""
    LEG_CLASH = 85
    """Two legs chose one contract, or it is still held."""
    ACCOUNT_POSITIONS = 60
    UNDERLYING_POSITIONS = 61
    SECTOR_POSITIONS = 62
    GROSS_EXPOSURE = 63
    NET_EXPOSURE = 64
    RUN_OFF = 65
    """The book only leads its positions to their exits: its strategy was changed or removed."""
    NETTED = 70
    """Settled between two books of the account at the touch's mid, without costs."""


class Activity(IntEnum):
    """What a (book, instrument) pair is doing, as its trader would say it."""

    WARMING = 0
    WAITING = 1
    ENTERING = 2
    IN_TRADE = 3
    EXITING = 4


class StepFlag(IntEnum):
    """Bits that a strategy's compiled step returns for a closed bar."""

    READY = 1
    ENTER_LONG = 2
    ENTER_SHORT = 4
    EXIT_LONG = 8
    EXIT_SHORT = 16
    ADD_LONG = 32
    ADD_SHORT = 64
    REDUCE_LONG = 128
    REDUCE_SHORT = 256


class StrikeRule(IntEnum):
    """How a leg finds its strike; each has a value."""

    ATM = 1
    """So many listed strikes above the one nearest to the underlying."""
    DELTA = 2
    PREMIUM = 3
    PERCENT = 4
    """Out of the money by so many percent of the underlying."""


class ExpiryRule(IntEnum):
    """How a leg finds its expiry."""

    NEAREST = 1
    NEXT = 2
    MONTHLY = 3
    """The nearest that is the last one of its month."""
    DAYS = 4
    """The nearest that is at least so many days away."""


class LegState(IntEnum):
    """A leg's life inside its group."""

    IDLE = 0
    ENTERING = 1
    OPEN = 2
    AWAITING = 3
    """Stopped, and waiting to be entered again."""
    DONE = 4
    PLANNED = 5
    """To be sold as soon as the bought legs of its group are in."""


class Percent(IntEnum):
    """Bits of a verdict's `percent_of`: amounts that are percent of the entry's average price, and not rupees."""

    STOP = 1
    TARGET = 2
    TRAIL = 4
    TRAIL_AFTER = 8
    BREAKEVEN = 16
