"""`python -m atmand.keep_bars STATE STORE`: fold the sessions that have ended into one-minute bars, in a child.

The daemon starts it at a session's end, so that its own loop reads no journal and imports no polars. A minute that a
gap touches, or that began before the recording did, is left out unless the broker's candles tell it whole.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from atmand.core.jit import kernel_rows
from atmand.core.records import BarFlag, Kind, Record, SessionFlag, head_and_rows
from atmand.core.ticks import MAX_TICKS, TICK, decoded_ticks
from atmand.errors import AtmandError, ExitCode
from atmand.history.rows import MINUTE_NS
from atmand.history.store import ROWS, Merged, Store
from atmand.journal.reader import Session, read, sessions
from atmand.wiring import DECODERS, JOURNAL

__all__ = ["KEPT", "fold_session", "keep", "main"]

KEPT: Final = "bars_kept.json"
"""In the state directory: the first record of the newest session whose bars are in the store."""

_KINDS: Final = frozenset({Kind.SESSION, Kind.INSTRUMENTS, Kind.FRAME, Kind.GAP, Kind.HISTORY})
_FULL_PACKET: Final = 184
_CHUNK: Final = 1 << 20
"""Ticks that are held before they are summed up."""
_TICK: Final = np.dtype(
    [("token", "i8"), ("time_ns", "i8"), ("price", "i8"), ("volume", "i8"), ("oi", "i8"), ("order", "i8")]
)


def main(arguments: list[str]) -> int:
    """Keep what has ended and print what came of it as JSON; errors go to standard error."""
    os.nice(10)
    try:
        print(orjson.dumps(keep(Path(arguments[0]), Path(arguments[1]))).decode())
    except AtmandError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    return int(ExitCode.DONE)


def keep(state: Path, directory: Path) -> dict[str, Any]:
    """Add the bars of every session of a journal that has ended, and is not kept yet, to a store.

    Bars that are there already stay: what was imported knows better than what was heard.
    """
    journal, mark = state / JOURNAL, state / KEPT
    kept = orjson.loads(mark.read_bytes())["first_sequence"] if mark.is_file() else 0
    result: dict[str, Any] = {"sessions": [], "rows": 0, "added": 0, "instruments": 0}
    for session in sessions(journal):
        if session.day is None or session.first_sequence <= kept:
            continue
        frame, is_over, simulated = fold_session(journal, session)
        if not is_over:
            break
        if frame.height:
            done = _stored(Store(directory, create=True), journal, session, frame, simulated=simulated)
            result["added"] += done.added
        result["sessions"].append(session.day)
        result["rows"] += frame.height
        result["instruments"] = max(result["instruments"], frame["key"].n_unique())
        part = mark.with_name(f".{KEPT}.part")
        part.write_bytes(orjson.dumps({"first_sequence": session.first_sequence}))
        part.replace(mark)
    return result


def fold_session(journal: Path, session: Session) -> tuple[pl.DataFrame, bool, bool]:
    """Return a session's one-minute bars (ROWS but origin), whether it has ended, and whether it was simulated."""
    fold = _Fold()
    for record in read(journal, session.first_sequence, session.last_sequence, _KINDS):
        fold.take(record)
    return fold.bars(), session.last_ns >= fold.close_ns, fold.simulated


def _stored(store: Store, journal: Path, session: Session, frame: pl.DataFrame, *, simulated: bool) -> Merged:
    name = f"{journal.absolute()}: session {session.day}"
    origin = store.source(
        name=name,
        kind="simulator" if simulated else "session",
        sha256=hashlib.sha256(f"{name}: {session.first_sequence}".encode()).hexdigest(),
        rows=frame.height,
    )
    return store.merge(frame.with_columns(origin=pl.lit(origin)), MINUTE_NS, fill_only=True)


@dataclass
class _Fold:
    """One session's ticks, summed up to minutes as they come."""

    began_ns: int = 0
    grace_ns: int = 0
    simulated: bool = False
    windows: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    known: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    """By token: key, group, price scale."""
    gaps: list[tuple[int, int]] = field(default_factory=list)
    _ticks: NDArray[Any] = field(default_factory=lambda: np.zeros(_CHUNK + MAX_TICKS, _TICK))
    _held: int = 0
    _seen: int = 0
    _frame: NDArray[Any] = field(default_factory=lambda: np.zeros(MAX_TICKS, TICK))
    _parts: list[pl.DataFrame] = field(default_factory=list)
    _candles: list[pl.DataFrame] = field(default_factory=list)

    def take(self, record: Record) -> None:
        if record.kind == Kind.FRAME:
            self._take_frame(record)
            return
        head, rows = head_and_rows(record)
        if record.kind == Kind.SESSION:
            self.began_ns = record.time_ns
            self.simulated = bool(int(head["flags"][0]) & SessionFlag.SIMULATED)
            for group, opens, close in rows.tolist():
                self.windows.setdefault(group, []).append((opens, close))
            self.grace_ns = int(head["grace_ns"][0])
        elif record.kind == Kind.INSTRUMENTS:
            self.keys = [str(key, "ascii") for key in rows["key"]]
            for key, row in zip(self.keys, rows, strict=True):
                self.known[int(row["token"])] = (key, int(row["group"]), int(row["price_scale"]))
        elif record.kind == Kind.GAP:
            self.gaps.append((int(head["from_ns"][0]), int(head["to_ns"][0])))
        else:
            self._take_candles(int(head["bar_ns"][0]), int(head["to_ns"][0]), rows)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The windows of the groups that its instruments are in, which say when its day begins and ends."""
        groups = {group for _, group, _ in self.known.values()}
        return [span for group, own in self.windows.items() if group in groups for span in own] or [(0, 0)]

    @property
    def close_ns(self) -> int:
        return max(close for _, close in self.spans) + self.grace_ns

    def bars(self) -> pl.DataFrame:
        """Return the session's bars, sorted by instrument and time."""
        self._sum_up()
        names = pl.DataFrame(
            [(token, *known) for token, known in self.known.items()],
            schema={"token": pl.Int64, "key": pl.String, "group": pl.Int64, "price_scale": pl.Int32},
            orient="row",
        )
        whole = self._of_ticks(names)
        told = pl.concat([pl.DataFrame(schema=_CANDLES), *self._candles]).unique(["key", "start_ns"], keep="last")
        scales = names.select("key", "group", "price_scale").unique("key")
        filled = told.join(whole, on=["key", "start_ns"], how="anti").join(scales, on="key")
        columns = [name for name in ROWS if name != "origin"]
        found = pl.concat([whole.select(*columns, "group"), filled.with_columns(oi=_NO_OI).select(*columns, "group")])
        return found.filter(_within(self.windows)).select(columns).sort("key", "start_ns")

    def _of_ticks(self, names: pl.DataFrame) -> pl.DataFrame:
        """Join the sums of the chunks, and leave out minutes that were not heard from their beginning to their end."""
        schema = {name: pl.Int64 for name in _SUMS}
        minutes = (
            pl.concat([pl.DataFrame(schema=schema), *self._parts])
            .group_by("token", "start_ns", maintain_order=True)
            .agg(
                pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(),
                pl.col("total").max(), pl.col("oi").last(),
            )
            .sort("token", "start_ns")
        )  # fmt: skip
        opens = min(self.spans)[0]
        so_far = pl.col("total").cum_max().over("token")
        before = so_far.shift(1).over("token")
        if self.began_ns <= opens:
            before = before.fill_null(0)  # who listened from the start on knows that the day began with nothing
        minutes = minutes.with_columns(volume=(so_far - before).clip(lower_bound=0)).join(names, on="token")
        torn = [(0, self.began_ns), *self.gaps] if self.began_ns > opens else self.gaps
        whole = pl.col("volume").is_not_null()
        for first, last in torn:
            whole &= (pl.col("start_ns") + MINUTE_NS <= first) | (pl.col("start_ns") >= last)
        derivative = pl.col("key").str.contains("^[A-Z]+:(FUT|OPT):")
        return minutes.filter(whole).with_columns(
            oi=pl.when(derivative & (pl.col("oi") >= 0)).then("oi").otherwise(_NO_OI)
        )

    def _take_frame(self, record: Record) -> None:
        decode = DECODERS.get(record.source)
        if decode is None:
            return
        n = decoded_ticks(int(decode(record.body, kernel_rows(self._frame))))
        ticks = self._frame[:n]
        ticks = ticks[ticks["last_price"] > 0]
        into = self._ticks[self._held : self._held + len(ticks)]
        into["token"], into["price"], into["volume"] = ticks["token"], ticks["last_price"], ticks["volume"]
        into["time_ns"] = np.where(ticks["exchange_ns"] > 0, ticks["exchange_ns"], record.time_ns)
        into["oi"] = np.where(ticks["packet"] == _FULL_PACKET, ticks["oi"], -1)
        into["order"] = self._seen
        self._seen += 1
        self._held += len(ticks)
        if self._held >= _CHUNK:
            self._sum_up()

    def _sum_up(self) -> None:
        """Turn the ticks at hand into minutes; a later chunk may add to the same ones."""
        ticks = self._ticks[: self._held]
        if len(ticks):
            frame = pl.DataFrame({name: np.ascontiguousarray(ticks[name]) for name in _TICK.names or ()})
            self._parts.append(
                frame.sort("token", "time_ns", "order")
                .group_by("token", start_ns=pl.col("time_ns") // MINUTE_NS * MINUTE_NS, maintain_order=True)
                .agg(
                    open=pl.col("price").first(), high=pl.col("price").max(), low=pl.col("price").min(),
                    close=pl.col("price").last(), total=pl.col("volume").max(), oi=pl.col("oi").last(),
                )
                .select(_SUMS)
            )  # fmt: skip
        self._held = 0

    def _take_candles(self, bar_ns: int, to_ns: int, rows: NDArray[Any]) -> None:
        """Keep the broker's finished candles of this day."""
        first = min(self.spans)[0]
        rows = rows[(rows["start_ns"] >= first) & (rows["start_ns"] + bar_ns <= to_ns)]
        rows = rows[rows["flags"] & BarFlag.UNFINISHED == 0]
        if bar_ns == MINUTE_NS and len(rows):
            keys = [self.keys[at] for at in rows["instrument"].tolist()]
            columns = {name: np.ascontiguousarray(rows[name]) for name in _CANDLES if name != "key"}
            self._candles.append(pl.DataFrame({"key": keys, **columns}))


_SUMS: Final = ("token", "start_ns", "open", "high", "low", "close", "total", "oi")
_CANDLES: Final = {
    "key": pl.String,
    **{name: pl.Int64 for name in ("start_ns", "open", "high", "low", "close", "volume")},
}
_NO_OI: Final = pl.lit(None, pl.Int64)


def _within(windows: dict[int, list[tuple[int, int]]]) -> pl.Expr:
    """Say which bars begin in a window of their instrument's group."""
    spans: Iterator[pl.Expr] = (
        (pl.col("group") == group) & (pl.col("start_ns") >= opens) & (pl.col("start_ns") < close)
        for group, own in windows.items()
        for opens, close in own
    )
    return pl.any_horizontal(pl.lit(False), *spans)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
