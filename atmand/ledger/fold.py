"""The ledger's fold: audit rows in, rows of the store and statistics out. It remembers little and touches no file.

The ledger's thread feeds it while the daemon trades, and catching up feeds it from the journal; both get the same rows
and figures, because its whole memory is stored with the rows (`state`) and taken up again (`restore`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from atmand.core.manifest import Manifest
from atmand.core.records import Kind
from atmand.core.run_off import heir_of
from atmand.ledger.statistics import Curve, Statistics
from atmand.ledger.trades import (
    AuditRow,
    OpenTrade,
    Place,
    Trade,
    TradeFold,
    audit_rows,
    book_name,
    open_in_document,
    open_in_pairs,
)

__all__ = ["FOLD_VERSION", "TOTAL", "DayRow", "Folded", "LedgerFold", "Mark", "Opening"]

FOLD_VERSION: Final = 1
"""Number of the stored memory's form and meaning; another one's ledger is folded again from the journal."""

TOTAL: Final = ""
"""Name of the curve over all accounts."""

_HEARD: Final = (int(Kind.AUDIT_DECISION), int(Kind.AUDIT_INTENT), int(Kind.AUDIT_FILL), int(Kind.AUDIT_MARK))
_MARK: Final = int(Kind.AUDIT_MARK)


@dataclass(frozen=True)
class Opening:
    """A session or a program that begins: who the rows that follow are of."""

    manifest: Manifest
    keys: tuple[str, ...]
    """Durable instrument keys, in the order of the rows' numbers."""
    day: int
    """yyyymmdd, India."""
    close_ns: int
    """When the day's last window closes: a mark from then on ends the day."""
    open_trades: Mapping[Place, OpenTrade] | None = None
    """What is open in the books that it begins with; None where it goes on with what was open."""
    past: bool = False
    """The session was simulated before the market began."""

    @classmethod
    def of_tables(
        cls, manifest: Manifest, keys: Sequence[str], pairs: NDArray[Any], *, day: int, close_ns: int
    ) -> Opening:
        """Describe what an engine has just laid out; `pairs` is its table of pairs."""
        return cls(manifest, tuple(keys), day, close_ns, open_in_pairs(manifest, keys, pairs))

    @classmethod
    def of_books(
        cls, manifest: Manifest, keys: Sequence[str], books: Mapping[str, Any] | None, *, day: int, close_ns: int
    ) -> Opening:
        """Describe a recorded session's opening; `books` is the document carried into it."""
        opened = {} if books is None else open_in_document(books)
        return cls(manifest, tuple(keys), day, close_ns, opened)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a book was worth at a record that closed bars."""

    cause: int
    place: int
    time_ns: int
    strategy: str
    account: str
    equity_paise: int
    capital_paise: int
    costs_paise: int
    """The book's so far."""
    positions: int
    past: bool


@dataclass(frozen=True, slots=True)
class DayRow:
    """A day of a book (`strategy@account`), an account (`@account`) or everything (empty name), as far as it went."""

    day: int
    name: str
    opened_paise: int
    closed_paise: int
    flow_paise: int
    """Capital added during the day: `closed - opened - flow` is the profit."""
    profit_paise: int
    day_return: float
    costs_paise: int
    trades: int
    time_ns: int
    past: bool


@dataclass
class Folded:
    """Rows to be stored, in the order in which they came about."""

    trades: list[Trade] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    days: dict[tuple[int, str], DayRow] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.trades) + len(self.marks) + len(self.days)


@dataclass(slots=True)
class _Book:
    curve: Curve = field(default_factory=Curve)
    running: bool = False
    """It has been marked since it was last named by a program."""
    capital: int = 0
    """The operator's; 0 where marks do not tell it."""
    costs: int = 0
    """As its marks count them: from 0 again where a book is begun anew."""


class LedgerFold:
    """Folds openings, parameter numbers and audit rows; `take_rows` gives what there is to store."""

    def __init__(self) -> None:
        self.day = 0
        self.past = False
        self.last_key = (0, 0)
        """(cause, index) of the newest row that was folded."""
        self._close_ns = 0
        self._trades = TradeFold()
        self._books: dict[str, _Book] = {}
        self._curves: dict[str, Curve] = {TOTAL: Curve()}
        self._names: list[str] = []
        self._account_of: dict[str, str] = {}
        self._plans: list[tuple[str, str]] = []
        self._touched: set[str] = set()
        self._paid: dict[str, int] = {}
        """Costs since their last mark of the accounts whose books are being marked."""
        self._now_ns = 0
        self._folded = Folded()

    # What happens.

    def begin(self, opening: Opening) -> None:
        """Begin a session or take another program up; books that are gone take their money with them."""
        if opening.day != self.day:
            self._roll_day(opening)
        self._close_ns, self.past = opening.close_ns, opening.past
        self.name(opening)
        self._trades.begin(opening.manifest, opening.keys, opening.open_trades, past=opening.past)
        for name, book in self._books.items():
            if book.running and name not in self._names:
                self._leave(name, book)
                self._sum_up(self._account_of[name])
                self._sum_up(TOTAL)

    def name(self, opening: Opening) -> None:
        """Take the names of an opening that was folded before this memory was stored."""
        self._names = [book_name(plan) for plan in opening.manifest.books]
        self._plans = [(plan.strategy, plan.account) for plan in opening.manifest.books]
        self._account_of |= {book_name(plan): f"@{plan.account}" for plan in opening.manifest.books}
        self._trades.begin(opening.manifest, opening.keys, None, past=opening.past)

    def params(self, seq: int) -> None:
        """Remember which parameter document is in force from here on."""
        self._trades.parameter_seq = seq

    def fold(self, rows: NDArray[Any]) -> None:
        """Fold audit rows; those of one cause come together."""
        if not len(rows):
            return
        cause = None
        for row in audit_rows(rows[np.isin(rows["kind"], _HEARD)]):
            if row.kind == _MARK:
                if row.cause != cause:
                    self._settle()
                    cause = row.cause
                self._mark(row)
                continue
            trade = self._trades.take(row)
            if trade is not None:
                self._close(trade)
        self._settle()
        self.last_key = (int(rows["cause"][-1]), int(rows["index"][-1]))

    # What comes of it.

    def take_rows(self) -> Folded:
        """Return the rows since the last call, the days that they belong to among them."""
        for name in sorted(self._touched):
            self._folded.days[self.day, name] = self._day_row(name)
        self._touched.clear()
        folded, self._folded = self._folded, Folded()
        return folded

    @property
    def waiting(self) -> int:
        """Rows that `take_rows` would return, about."""
        return len(self._folded) + len(self._touched)

    @property
    def parameter_seq(self) -> int:
        return self._trades.parameter_seq

    @property
    def time_ns(self) -> int:
        return self._curves[TOTAL].time_ns

    def statistics(self) -> dict[str, Statistics]:
        """Return the figures of every book (`strategy@account`), account (`@account`) and of everything (empty)."""
        return {
            name: curve.statistics(self.day, day_is_over=self._is_over(curve), past=self.past)
            for name, curve in self.curves()
        }

    def curves(self) -> Iterator[tuple[str, Curve]]:
        """Yield the curves as they stand, by name."""
        yield from self._curves.items()
        for name, book in self._books.items():
            yield name, book.curve

    # Memory.

    def state(self) -> bytes:
        """Write this memory down."""
        return orjson.dumps(
            {
                "version": FOLD_VERSION,
                "day": self.day,
                "close_ns": self._close_ns,
                "past": self.past,
                "last_key": self.last_key,
                "parameter_seq": self._trades.parameter_seq,
                "books": self._books,
                "curves": self._curves,
                "accounts": self._account_of,
                "open": [(*place, asdict(trade)) for place, trade in self._trades.open.items()],
                "decided": [(*place, *decided) for place, decided in self._trades.decided.items()],
            }
        )

    def restore(self, text: bytes | str) -> bool:
        """Take a stored memory up; False, and nothing happens, where another version of this fold wrote it."""
        document: dict[str, Any] = orjson.loads(text)
        if document.get("version") != FOLD_VERSION:
            return False
        self.day, self._close_ns, self.past = document["day"], document["close_ns"], document["past"]
        self.last_key = (document["last_key"][0], document["last_key"][1])
        self._books = {
            name: _Book(**{**book, "curve": Curve.from_json(book["curve"])}) for name, book in document["books"].items()
        }
        self._curves = {name: Curve.from_json(curve) for name, curve in document["curves"].items()}
        self._account_of = document["accounts"]
        self._trades.parameter_seq = document["parameter_seq"]
        self._trades.open = {(book, key): OpenTrade(**trade) for book, key, trade in document["open"]}
        self._trades.decided = {(book, key): (seq, cause) for book, key, seq, cause in document["decided"]}
        return True

    # Inside.

    def _is_over(self, curve: Curve) -> bool:
        return 0 < self._close_ns <= curve.time_ns

    def _roll_day(self, opening: Opening) -> None:
        for name, curve in self.curves():
            if name in self._touched:
                self._folded.days[self.day, name] = self._day_row(name)
            curve.end_day(past=self.past)
        self._touched.clear()
        self.day = opening.day

    def _mark(self, row: AuditRow) -> None:
        name = self._names[row.book]
        strategy, account = self._plans[row.book]
        book = self._books.get(name)
        if book is None:
            book = self._books[name] = _Book()
        if book.running and row.costs < book.costs:
            self._leave(name, book)  # costs never fall: these books were begun anew
        capital = row.price or (book.capital if book.running else 0)
        self._add(name, book, self._flow(book, row, capital))
        paid = row.costs - (book.costs if book.running else 0)
        book.running, book.capital, book.costs = True, capital, row.costs
        curve = book.curve
        curve.mark(row.time_ns, row.value, paid)
        curve.positions, curve.capital = row.quantity, capital or curve.capital or row.value
        holder = self._account_of[name]
        self._paid[holder] = self._paid.get(holder, 0) + paid
        self._now_ns = row.time_ns
        self._touched.add(name)
        self._folded.marks.append(
            Mark(
                row.cause, row.place, row.time_ns, strategy, account,
                row.value, curve.capital, row.costs, row.quantity, self.past,
            )
        )  # fmt: skip

    @staticmethod
    def _flow(book: _Book, row: AuditRow, capital: int) -> int:
        """Return the capital that came with a mark; one that does not tell it began with its equity."""
        if not book.running:
            return capital or row.value
        return capital - book.capital if book.capital and capital else 0

    def _leave(self, name: str, book: _Book) -> None:
        """A book ends: what it was worth leaves its account, and is neither profit nor loss."""
        equity, heir = book.curve.equity, heir_of(name)
        self._add(name, book, -equity)
        if heir in self._names and name not in self._names and self._books[heir].running:
            # The heir's capital grows by what the book was lent; what it made or lost comes along.
            self._add(heir, self._books[heir], equity - book.capital)
        book.curve.positions = book.curve.capital = 0
        book.running, book.capital, book.costs = False, 0, 0

    def _add(self, name: str, book: _Book, paise: int) -> None:
        """Add capital to a book, and with it to its account and to everything."""
        if paise:
            holder = self._account_of[name]
            for owner, curve in ((name, book.curve), (holder, self._holder(holder)), (TOTAL, self._curves[TOTAL])):
                curve.flow(paise)
                self._touched.add(owner)

    def _settle(self) -> None:
        """Mark the accounts whose books were marked, and everything."""
        if not self._paid:
            return
        for holder, paid in self._paid.items():
            curve = self._holder(holder)
            curve.mark(self._now_ns, self._sum_up(holder), paid)
            self._touched.add(holder)
        self._curves[TOTAL].mark(self._now_ns, self._sum_up(TOTAL), sum(self._paid.values()))
        self._touched.add(TOTAL)
        self._paid.clear()

    def _sum_up(self, name: str) -> int:
        """Sum an account's books up, or all accounts; return the equity."""
        if name == TOTAL:
            parts = [curve for holder, curve in self._curves.items() if holder != TOTAL]
        else:
            parts = [book.curve for owner, book in self._books.items() if self._account_of[owner] == name]
        curve = self._holder(name)
        curve.positions, curve.capital = sum(part.positions for part in parts), sum(part.capital for part in parts)
        return sum(part.equity for part in parts)

    def _holder(self, name: str) -> Curve:
        return self._curves.setdefault(name, Curve())

    def _close(self, trade: Trade) -> None:
        self._folded.trades.append(trade)
        name, holder = f"{trade.strategy}@{trade.account}", f"@{trade.account}"
        book = self._books.setdefault(name, _Book())
        for owner, curve in (
            (name, book.curve),
            (holder, self._holder(holder)),
            (TOTAL, self._curves[TOTAL]),
        ):
            curve.trade(trade.net_paise, past=trade.past)
            self._touched.add(owner)

    def _curve(self, name: str) -> Curve:
        return self._curves[name] if name in self._curves else self._books[name].curve

    def _day_row(self, name: str) -> DayRow:
        curve = self._curve(name)
        return DayRow(
            day=self.day,
            name=name,
            opened_paise=curve.day_opened,
            closed_paise=curve.equity,
            flow_paise=curve.day_flow,
            profit_paise=curve.profit - curve.day_profit,
            day_return=curve.day_return,
            costs_paise=curve.costs - curve.day_costs,
            trades=curve.day_trades,
            time_ns=curve.time_ns,
            past=self.past,
        )
