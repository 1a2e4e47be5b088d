"""The closed, versioned registry of record kinds: everything that can change a decision, and the audit of decisions.

A record is a header of 48 bytes, then (for every kind but FRAME) one head row and `rows` rows of one dtype. The
journal stores records, the engine folds them. A kind's number never changes; a changed dtype gets a new version,
and readers keep every version they ever had. Text and documents are sidecar files named by their sha256.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AUDIT",
    "AUDIT_KINDS",
    "COLUMN_HEAD",
    "COLUMN_ROW",
    "COMMAND_HEAD",
    "CORPORATE_ACTION_HEAD",
    "CORPORATE_ACTION_ROW",
    "EMPTY",
    "FEED_STATE_HEAD",
    "GAP_HEAD",
    "HEADER",
    "HISTORY_HEAD",
    "HISTORY_ROW",
    "INSTRUMENTS_HEAD",
    "INSTRUMENTS_ROW",
    "LIMITS_HEAD",
    "LIMITS_ROW",
    "PARAMS_HEAD",
    "PARAMS_ROW",
    "PROGRAM_HEAD",
    "PROGRAM_ROW",
    "SESSION_HEAD",
    "SESSION_ROW",
    "BarFlag",
    "Command",
    "FeedState",
    "GapReason",
    "Kind",
    "Record",
    "SessionFlag",
    "Shape",
    "Source",
    "body_of",
    "head_and_rows",
    "shape_of",
    "upgraded",
    "version_of",
]


class Kind(IntEnum):
    """Record kinds. Numbers below 64 are folded by the core; numbers from 64 are audit, which the fold skips.

    An AUDIT record holds all rows of a cause (of many, in a simulated past); the other audit kinds are those of its
    rows, and of the records that older journals have.
    """

    SESSION = 1
    INSTRUMENTS = 2
    HISTORY = 3
    CORPORATE_ACTION = 4
    PROGRAM = 5
    PARAMS = 6
    LIMITS = 7
    MODEL = 8
    FRAME = 9
    FEED_STATE = 10
    GAP = 11
    FORECAST = 12
    SENTIMENT = 13
    SIGNAL = 14
    ORDER_UPDATE = 15
    TRADE = 16
    BROKER_STATE = 17
    GATEWAY = 18
    LEASE = 19
    COMMAND = 20
    TIMER = 21
    AUDIT_DECISION = 64
    AUDIT_INTENT = 65
    AUDIT_ORDER = 66
    AUDIT_FILL = 67
    AUDIT_MARK = 68
    AUDIT = 69


AUDIT_KINDS: Final = frozenset(kind for kind in Kind if kind >= 64)


class Source(IntEnum):
    """Who produced a record; a FRAME's source chooses its decoder."""

    DAEMON = 0
    KITE = 1
    PAST = 2
    """Audit of a simulated past that was folded before the first session; its causes are numbered below zero."""
    API = 3
    """A request to the HTTP API: its sender is the record's `actor`."""


class SessionFlag(IntEnum):
    """Bits of a SESSION's `flags`."""

    SIMULATED = 1
    """The market is an embedded or stand-alone simulator: paper money, no exchange."""
    BAR_PATH = 2
    """Ticks were drawn out of bars: stops fill at the extremes, targets at the bar's last step only."""


class BarFlag(IntEnum):
    """Bits of a bar's `flags`."""

    PARTIAL = 1
    """Some of the bar's ticks are missing: it started late or a gap fell into it. No entry is made on it."""
    HISTORY = 2
    """The bar came from a HISTORY record, not from ticks."""
    UNFINISHED = 4
    """In a HISTORY row only: the candle was still open when it was fetched."""
    CORE_TIME = 8
    """At least one tick had no exchange time and was bucketed by core time."""


class FeedState(IntEnum):
    """A connection's life as the daemon saw it."""

    CONNECTING = 1
    CONNECTED = 2
    SUBSCRIBED = 3
    STALE = 4
    LOST = 5
    REFUSED = 6


class GapReason(IntEnum):
    """Why market data is missing between two times."""

    DISCONNECTED = 1
    OVERLOAD = 2
    RESTART = 3
    STALE = 4


class Command(IntEnum):
    """An operator's (or the daemon's own) command to the core."""

    ENTRIES_OFF = 1
    ENTRIES_ON = 2
    PAUSE_BOOK = 3
    RESUME_BOOK = 4
    EXIT_POSITION = 5


HEADER: Final = np.dtype(
    [
        ("checksum", "u8"),  # xxh3-64 of the header's other 40 bytes and the body
        ("sequence", "i8"),
        ("time_ns", "i8"),
        ("length", "u4"),  # of the body, bytes
        ("kind", "u2"),
        ("version", "u2"),
        ("source", "u2"),
        ("connection", "u2"),
        ("rows", "u4"),
        ("reserved", "u8"),
    ]
)
assert HEADER.itemsize == 48

EMPTY: Final = np.dtype([("reserved", "i8")])

SESSION_HEAD: Final = np.dtype(
    [
        ("date", "i8"),  # yyyymmdd, India
        ("seed", "u8"),
        ("flags", "i8"),
        ("grace_ns", "i8"),  # a bar closes so long after its end
        ("grid_ns", "i8"),  # TIMER records fall on this grid
        ("latency_low_ns", "i8"),  # paper orders reach the book after low..high
        ("latency_high_ns", "i8"),
        ("path_last_ns", "i8"),  # BAR_PATH: offset of a minute's last step
        ("costs_date", "i8"),  # yyyymmdd whose cost tables apply
        ("protection_bps", "i8"),  # limit of a MARKET order round the touch
        ("entry_wait_ns", "i8"),  # an unfilled entry is cancelled after so long
        ("stale_ns", "i8"),  # no entry on an instrument silent for so long
        ("orders_per_book", "i8"),  # capacity
        ("ring_factor", "i8"),  # bars kept per period of a recursive indicator
        ("code", "u1", (32,)),  # sha256 of the kernel sources
        ("machine", "u1", (32,)),  # sha256 of CPU features, libm, numba
        ("brokerage", "S16"),  # name of the plan in the cost table
    ]
)
SESSION_HEAD_1: Final = np.dtype(  # before brokerage plans
    [(name, SESSION_HEAD[name]) for name in (SESSION_HEAD.names or ())[:-1]]
)
SESSION_ROW: Final = np.dtype([("group", "i8"), ("open_ns", "i8"), ("close_ns", "i8")])

INSTRUMENTS_HEAD: Final = np.dtype([("dump", "u1", (32,))])  # sha256 of the dump that the rows came from
INSTRUMENTS_ROW: Final = np.dtype(
    [
        ("key", "S48"),  # EXCHANGE:SEGMENT:SYMBOL[:EXPIRY:STRIKE:RIGHT]
        ("isin", "S12"),
        ("sector", "i4"),  # instruments of one sector have one number; 0 = not known, as in the first records
        ("token", "i8"),
        ("price_scale", "i8"),
        ("tick", "i8"),  # in price_scale units
        ("lot", "i8"),
        ("freeze", "i8"),  # most units an order, 0 = none
        ("lower_band", "i8"),  # 0 = none
        ("upper_band", "i8"),
        ("group", "i8"),  # of session windows
        ("cost_group", "i8"),  # row block of the cost table
        ("tradable", "i8"),
        ("underlying", "i8"),  # of a derivative: its place in this table, -1 = none of them
        ("expiry_ns", "i8"),  # when a derivative ends, 0 = never
        ("strike", "i8"),  # in price_scale units
        ("right", "i8"),  # +1 call, -1 put, 0 neither
    ]
)
_INSTRUMENTS_ROW_1: Final = np.dtype(  # before derivatives
    [(name, INSTRUMENTS_ROW[name]) for name in (INSTRUMENTS_ROW.names or ())[:13]]
)

CORPORATE_ACTION_HEAD: Final = np.dtype([("ex_ns", "i8")])  # bars before it are in the old units
CORPORATE_ACTION_ROW: Final = np.dtype([("instrument", "i8"), ("new", "i8"), ("old", "i8")])  # `new` units for `old`

PROGRAM_HEAD: Final = np.dtype(
    [
        ("source", "u1", (32,)),  # sha256 of the generated module, a sidecar
        ("manifest", "u1", (32,)),  # sha256 of its manifest, a sidecar
        ("books", "u1", (32,)),  # sha256 of the books carried into the session, a sidecar; zeros = none
    ]
)
PROGRAM_ROW: Final = np.dtype(  # one (book, instrument) pair
    [("book", "i8"), ("instrument", "i8"), ("copy_from", "i8")]  # copy_from: pair before whose state goes on, or -1
)

PARAMS_HEAD: Final = np.dtype([("document_seq", "i8"), ("document", "u1", (32,))])
PARAMS_ROW: Final = np.dtype([("book", "i8"), ("slot", "i8"), ("value", "f8")])

LIMITS_HEAD_1: Final = np.dtype([("entries", "i8")])
LIMITS_HEAD: Final = np.dtype(
    [
        ("entries", "i8"),  # 0: no book may open anything
        ("netting", "i8"),  # 1: opposite intents of one record are settled between the books
        ("account_positions", "i8"),  # of one account, all its books together; 0 = no limit, as for all that follow
        ("underlying_positions", "i8"),
        ("sector_positions", "i8"),
        ("gross_paise", "i8"),
        ("net_paise", "i8"),
        ("gross_of_equity", "i8"),  # basis points of the account's equity
        ("net_of_equity", "i8"),
    ]
)
LIMITS_ROW: Final = np.dtype(
    [
        ("book", "i8"),
        ("capital_paise", "i8"),
        ("order_value_paise", "i8"),
        ("position_value_paise", "i8"),
        ("daily_loss_paise", "i8"),
        ("open_positions", "i8"),
        ("orders_a_day", "i8"),
    ]
)

HISTORY_HEAD: Final = np.dtype([("from_ns", "i8"), ("to_ns", "i8"), ("bar_ns", "i8")])
HISTORY_ROW: Final = np.dtype(
    [
        ("instrument", "i8"),
        ("start_ns", "i8"),
        ("open", "i8"),
        ("high", "i8"),
        ("low", "i8"),
        ("close", "i8"),
        ("volume", "i8"),
        ("flags", "i8"),
    ]
)

FEED_STATE_HEAD: Final = np.dtype([("state", "i8"), ("instruments", "i8"), ("code", "i8")])
GAP_HEAD: Final = np.dtype([("from_ns", "i8"), ("to_ns", "i8"), ("reason", "i8"), ("frames", "i8")])
COMMAND_HEAD: Final = np.dtype(
    [
        ("code", "i8"),
        ("account", "i8"),
        ("book", "i8"),
        ("instrument", "i8"),
        ("argument", "i8"),
        ("request", "i8"),
        ("actor", "i8"),
    ]
)

# SIGNAL, FORECAST and SENTIMENT: values from outside, each in a numbered column of the program.
COLUMN_HEAD: Final = np.dtype(
    [
        ("actor", "i8"),  # number of the token that sent it, 0 = the daemon's own producer
        ("as_of_ns", "i8"),  # core time that the values are of
        ("sha256", "u1", (32,)),  # of what they were made from: a request without its token, an artifact
    ]
)
COLUMN_ROW: Final = np.dtype(
    [
        ("instrument", "i8"),  # dense id, -1 = every one
        ("column", "i8"),  # for SIGNAL the place of the name in the manifest's `signals`
        ("value", "f8"),
        ("valid_until_ns", "i8"),  # core time from which the value is missing again, 0 = never
    ]
)

AUDIT: Final = np.dtype(
    [
        ("kind", "i8"),
        ("cause", "i8"),  # sequence of the record that made it
        ("index", "i8"),  # within the cause; (cause, index) is the row's key
        ("book", "i8"),
        ("instrument", "i8"),
        ("order", "i8"),
        ("trade", "i8"),
        ("side", "i8"),  # +1 buy, -1 sell
        ("quantity", "i8"),
        ("price", "i8"),  # a mark's capital
        ("value", "i8"),  # quantity * price; a mark's equity
        ("costs", "i8"),
        ("state", "i8"),
        ("reason", "i8"),
        ("time_ns", "i8"),
        ("group", "i8"),  # of legs that are entered and left together, 0 = none
    ]
)
_AUDIT_1: Final = np.dtype([(name, "i8") for name in (AUDIT.names or ())[:-1]])  # before groups of legs


class Shape(NamedTuple):
    """The dtypes of one version of one kind's body."""

    head: np.dtype[np.void]
    row: np.dtype[np.void]


_SHAPES: Final[dict[tuple[Kind, int], Shape]] = {
    (Kind.SESSION, 1): Shape(SESSION_HEAD_1, SESSION_ROW),
    (Kind.SESSION, 2): Shape(SESSION_HEAD, SESSION_ROW),
    (Kind.INSTRUMENTS, 1): Shape(INSTRUMENTS_HEAD, _INSTRUMENTS_ROW_1),
    (Kind.INSTRUMENTS, 2): Shape(INSTRUMENTS_HEAD, INSTRUMENTS_ROW),
    (Kind.HISTORY, 1): Shape(HISTORY_HEAD, HISTORY_ROW),
    (Kind.CORPORATE_ACTION, 1): Shape(CORPORATE_ACTION_HEAD, CORPORATE_ACTION_ROW),
    (Kind.PROGRAM, 1): Shape(PROGRAM_HEAD, PROGRAM_ROW),
    (Kind.PARAMS, 1): Shape(PARAMS_HEAD, PARAMS_ROW),
    (Kind.LIMITS, 1): Shape(LIMITS_HEAD_1, LIMITS_ROW),
    (Kind.LIMITS, 2): Shape(LIMITS_HEAD, LIMITS_ROW),
    (Kind.FEED_STATE, 1): Shape(FEED_STATE_HEAD, EMPTY),
    (Kind.GAP, 1): Shape(GAP_HEAD, EMPTY),
    (Kind.FORECAST, 1): Shape(COLUMN_HEAD, COLUMN_ROW),
    (Kind.SENTIMENT, 1): Shape(COLUMN_HEAD, COLUMN_ROW),
    (Kind.SIGNAL, 1): Shape(COLUMN_HEAD, COLUMN_ROW),
    (Kind.COMMAND, 1): Shape(COMMAND_HEAD, EMPTY),
    (Kind.TIMER, 1): Shape(EMPTY, EMPTY),
    **{(kind, 1): Shape(EMPTY, _AUDIT_1) for kind in AUDIT_KINDS},
    **{(kind, 2): Shape(EMPTY, AUDIT) for kind in AUDIT_KINDS},
}

_UNSAID: Final = {"underlying": -1, "brokerage": b"zerodha"}
"""What a field of a newer version is in a row that was written without it, where that is not zero."""


def shape_of(kind: int, version: int = 1) -> Shape:
    """Return the dtypes of a kind's body; KeyError where the kind has no fixed body (FRAME) or is not known here."""
    return _SHAPES[Kind(kind), version]


_NEWEST: Final = {kind: max(version for of, version in _SHAPES if of is kind) for kind, _ in _SHAPES}


def version_of(kind: Kind) -> int:
    """Return the version in which this code writes a kind."""
    return _NEWEST.get(kind, 1)


class Record(NamedTuple):
    """One record as it travels between rooms: the header's fields and the raw body."""

    kind: int
    sequence: int
    time_ns: int
    body: bytes
    rows: int = 0
    version: int = 1
    source: int = 0
    connection: int = 0


def body_of(kind: Kind, head: NDArray[np.void] | None = None, rows: NDArray[np.void] | None = None) -> bytes:
    """Encode a body from a head (one row, zeros if absent) and rows, refusing other dtypes than the kind's newest."""
    shape = shape_of(kind, version_of(kind))
    if head is None:
        head = np.zeros(1, shape.head)
    if head.dtype != shape.head or (rows is not None and rows.dtype != shape.row):
        raise TypeError(f"{kind.name}: head or rows are not of the kind's dtype")
    return head.tobytes() + (b"" if rows is None else rows.tobytes())


def head_and_rows(record: Record) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Decode a record's body into its head row and its rows (read-only views of the body).

    Those of an older version are given in the newest one's dtypes, without what that version did not say.
    """
    shape = shape_of(record.kind, record.version)
    head = np.frombuffer(record.body, shape.head, 1)
    rows = np.frombuffer(record.body, shape.row, record.rows, shape.head.itemsize)
    latest = shape_of(record.kind, version_of(Kind(record.kind)))
    return _renewed(head, latest.head), _renewed(rows, latest.row)


def upgraded(record: Record) -> Record:
    """Return a record in the version that this code writes."""
    newest = version_of(Kind(record.kind))
    if record.version == newest:
        return record
    head, rows = head_and_rows(record)
    return record._replace(body=head.tobytes() + rows.tobytes(), version=newest)


def _renewed(rows: NDArray[np.void], dtype: np.dtype[np.void]) -> NDArray[np.void]:
    if rows.dtype == dtype:
        return rows
    said = rows.dtype.names or ()
    fresh = np.zeros(len(rows), dtype)
    for name in dtype.names or ():
        fresh[name] = rows[name] if name in said else _UNSAID.get(name, 0)
    return fresh
