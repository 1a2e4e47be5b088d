"""The ledger's store: batches of rows in, queries out, by SQLAlchemy Core on whatever database the engine is for.

A batch and the place in the journal that it reaches up to are written in one transaction, and rows have their audit
row's key: writing what is there already changes nothing. Queries may run in another process while the daemon writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Engine, Integer, Select, Table, and_, cast, func, inspect, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from atmand.errors import AtmandError, DamagedError, UsageError
from atmand.ledger import schema
from atmand.ledger.fold import DayRow, Folded, Mark
from atmand.ledger.trades import Trade

__all__ = ["LedgerDamagedError", "LedgerNewerError", "Point", "Position", "SqlStore", "StoreBusyError", "TradeFilter"]

_INSERTS: Final[Mapping[str, Callable[[Table], Any]]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_TRADE_FIELDS: Final = tuple(each.name for each in fields(Trade))
_DAY_FIELDS: Final = tuple(each.name for each in fields(DayRow))
_MARK_FIELDS: Final = tuple(each.name for each in fields(Mark))


class StoreBusyError(AtmandError):
    """The database refuses for now: it is locked, its disk is full, or it cannot be reached."""


class LedgerDamagedError(DamagedError):
    """The database is damaged: it is set aside, and built again from the journal."""


class LedgerNewerError(AtmandError):
    """A newer version of atmand wrote this ledger."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far in the journal the stored rows reach, and the fold's memory there."""

    sequence: int
    last_key: tuple[int, int]
    journal: tuple[int, int]
    """Sequence and time of the journal's first record: another journal's differ."""
    fold: str


@dataclass(frozen=True, slots=True)
class Point:
    """The value of a book, an account or everything at one moment."""

    time_ns: int
    equity_paise: int
    capital_paise: int
    past: bool


@dataclass(frozen=True, slots=True)
class TradeFilter:
    """Which trades are asked for; what is None does not matter. `before` is a trade's id, to read on from it."""

    strategy: str | None = None
    instrument: str | None = None
    account: str | None = None
    from_ns: int | None = None
    to_ns: int | None = None
    """The exit's time, `to_ns` excluded."""
    before: str | None = None
    past: bool | None = None
    limit: int = 100


class SqlStore:
    """A ledger in a SQL database. `translated` turns the driver's errors into the ledger's."""

    def __init__(
        self, engine: Engine, where: str, translated: Callable[[str], AbstractContextManager[None, None]]
    ) -> None:
        self.engine = engine
        self.where = where
        self._translated = translated
        self._insert = _INSERTS[engine.dialect.name]

    # Life.

    def prepare(self) -> None:
        """Make the tables where they are missing or older; LedgerNewerError where they are newer."""
        with self._translated(self.where), self.engine.begin() as connection:
            found = self._schema(connection)
            if found == schema.SCHEMA:
                return
            if found is not None:
                self._refuse_newer(found)
                schema.METADATA.drop_all(connection)  # a ledger is built again from the journal
            schema.METADATA.create_all(connection)
            self._put_meta(connection, {"schema": schema.SCHEMA})

    def check(self) -> None:
        """Refuse a ledger that this version cannot read."""
        with self._translated(self.where), self.engine.connect() as connection:
            found = self._schema(connection)
        if found is None or found < schema.SCHEMA:
            raise AtmandError(self.where, "holds no ledger of this version", "start the daemon, it builds it anew")
        self._refuse_newer(found)

    def close(self) -> None:
        self.engine.dispose()

    # In.

    def write(self, rows: Folded, position: Position) -> None:
        """Store rows and the position that they reach in one transaction."""
        with self._translated(self.where), self.engine.begin() as connection:
            self._add(connection, schema.trades, [_trade_row(trade) for trade in rows.trades])
            self._add(connection, schema.marks, [_plain(mark, _MARK_FIELDS) for mark in rows.marks])
            self._replace(connection, schema.days, [_plain(day, _DAY_FIELDS) for day in rows.days.values()])
            self._put_meta(
                connection,
                {
                    "sequence": position.sequence,
                    "last_key": position.last_key,
                    "journal": position.journal,
                    "fold": position.fold,
                },
            )

    def clear(self) -> None:
        """Forget every row: the journal is to be folded from its beginning."""
        with self._translated(self.where), self.engine.begin() as connection:
            for table in (schema.trades, schema.marks, schema.days):
                connection.execute(table.delete())
            connection.execute(schema.meta.delete().where(schema.meta.c.name != "schema"))

    # Out.

    def position(self) -> Position | None:
        """Return how far the rows reach; None where nothing was stored."""
        with self._translated(self.where), self.engine.connect() as connection:
            found = {name: orjson.loads(value) for name, value in connection.execute(select(schema.meta)).all()}
        if "sequence" not in found:
            return None
        (cause, place), (first, time_ns) = found["last_key"], found["journal"]
        return Position(found["sequence"], (cause, place), (first, time_ns), found["fold"])

    def trades(self, wanted: TradeFilter | None = None) -> list[Trade]:
        """Return closed trades, the newest first."""
        wanted = wanted or TradeFilter()
        table = schema.trades
        query = select(*(table.c[name] for name in _TRADE_FIELDS))
        for name in ("strategy", "instrument", "account", "past"):
            value = getattr(wanted, name)
            if value is not None:
                query = query.where(table.c[name] == value)
        if wanted.from_ns is not None:
            query = query.where(table.c.exit_ns >= wanted.from_ns)
        if wanted.to_ns is not None:
            query = query.where(table.c.exit_ns < wanted.to_ns)
        query = query.order_by(table.c.exit_cause.desc(), table.c.exit_place.desc()).limit(wanted.limit)
        with self._translated(self.where), self.engine.connect() as connection:
            if wanted.before is not None:
                query = self._older(connection, query, wanted.before)
            return [Trade(**row) for row in connection.execute(query).mappings()]

    def trade(self, trade_id: str) -> Trade | None:
        """Return one trade; None where no trade has this id."""
        table = schema.trades
        query = select(*(table.c[name] for name in _TRADE_FIELDS)).where(table.c.trade_id == trade_id)
        with self._translated(self.where), self.engine.connect() as connection:
            found = connection.execute(query).mappings().first()
        return None if found is None else Trade(**found)

    def equity(
        self,
        *,
        strategy: str | None = None,
        account: str | None = None,
        from_ns: int | None = None,
        to_ns: int | None = None,
        points: int = 500,
    ) -> list[Point]:
        """Return the equity of a book, an account or everything, evenly thinned to at most so many points.

        The newest moment is always among them; what lies between two points is not told.
        """
        sums, order = self._sums(strategy, account, from_ns, to_ns), "cause"
        numbered = select(sums, func.row_number().over(order_by=sums.c[order].desc()).label("number")).subquery()
        with self._translated(self.where), self.engine.connect() as connection:
            n = int(connection.execute(select(func.count()).select_from(sums)).scalar_one())
            step = max(1, -(-n // max(1, points)))
            query = (
                select(numbered.c.time_ns, numbered.c.equity, numbered.c.capital, numbered.c.past)
                .where((numbered.c.number - 1) % step == 0)
                .order_by(numbered.c[order])
            )
            return [Point(int(t), int(e), int(c), bool(p)) for t, e, c, p in connection.execute(query)]

    def days(self, name: str | None = "", *, limit: int = 1_000) -> list[DayRow]:
        """Return the days of a book (`strategy@account`), an account (`@account`) or everything (empty), oldest first.

        None is all of them.
        """
        table = schema.days
        query = select(*(table.c[each] for each in _DAY_FIELDS))
        if name is not None:
            query = query.where(table.c.name == name)
        query = query.order_by(table.c.day.desc(), table.c.name).limit(limit)
        with self._translated(self.where), self.engine.connect() as connection:
            return [DayRow(**row) for row in connection.execute(query).mappings()][::-1]

    # Inside.

    def _schema(self, connection: Connection) -> int | None:
        if not inspect(connection).has_table(schema.meta.name):
            return None
        query = select(schema.meta.c.value).where(schema.meta.c.name == "schema")
        found = connection.execute(query).scalar()
        return None if found is None else int(found)

    def _refuse_newer(self, found: int) -> None:
        if found > schema.SCHEMA:
            raise LedgerNewerError(
                self.where,
                f"its schema is {found}, this atmand knows {schema.SCHEMA}",
                "run the newer atmand, or move the file away: it is built again from the journal",
            )

    def _put_meta(self, connection: Connection, values: Mapping[str, Any]) -> None:
        rows = [{"name": name, "value": orjson.dumps(value).decode()} for name, value in values.items()]
        self._replace(connection, schema.meta, rows)

    def _add(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            connection.execute(self._insert(table).on_conflict_do_nothing(), rows)

    def _replace(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            statement = self._insert(table)
            keys = [column.name for column in table.primary_key]
            new = {column.name: statement.excluded[column.name] for column in table.c if column.name not in keys}
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=new), rows)

    def _older(self, connection: Connection, query: Select[Any], trade_id: str) -> Select[Any]:
        table = schema.trades
        place = select(table.c.exit_cause, table.c.exit_place).where(table.c.trade_id == trade_id)
        found = connection.execute(place).first()
        if found is None:
            raise UsageError(f"trade {trade_id}", "no trade has this id", "`atmand trades` lists them")
        cause, index = found
        return query.where(
            or_(table.c.exit_cause < cause, and_(table.c.exit_cause == cause, table.c.exit_place < index))
        )

    @staticmethod
    def _sums(strategy: str | None, account: str | None, from_ns: int | None, to_ns: int | None) -> Any:
        """Build the sums of the marks of each cause: all books that are asked for, at one moment."""
        table = schema.marks
        query = select(
            table.c.cause.label("cause"),
            func.max(table.c.time_ns).label("time_ns"),
            func.sum(table.c.equity_paise).label("equity"),
            func.sum(table.c.capital_paise).label("capital"),
            func.min(cast(table.c.past, Integer)).label("past"),
        ).group_by(table.c.cause)
        if strategy is not None:
            query = query.where(table.c.strategy == strategy)
        if account is not None:
            query = query.where(table.c.account == account)
        if from_ns is not None:
            query = query.where(table.c.time_ns >= from_ns)
        if to_ns is not None:
            query = query.where(table.c.time_ns < to_ns)
        return query.subquery()


def _trade_row(trade: Trade) -> dict[str, Any]:
    return {name: getattr(trade, name) for name in _TRADE_FIELDS}


def _plain(row: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}
