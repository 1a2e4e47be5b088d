"""What is missing and what is too much, held against the sessions by date: gaps, closed days, stamps at a bar's end.

The hours of a share may depend on whether it has derivatives, which bars do not tell: a gap is judged by the shortest
hours of the day, a bar outside by the longest. Derivatives and what rarely trades have gaps by nature: only shares and
indices are held to have a bar for every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from atmand.errors import AtmandError
from atmand.history.finding import Finding
from atmand.history.rows import DAY_NS
from atmand.market.sessions import (
    FUTURES,
    OPTIONS,
    WITH_DERIVATIVES,
    WITHOUT_DERIVATIVES,
    calendar,
    regular_windows,
    windows,
)

__all__ = ["session_findings"]

_IST_NS: Final = 19_800_000_000_000
_EPOCH: Final = date(1970, 1, 1)
_STAMPED: Final = 0.8
"""Share of an instrument's days that must look stamped at the end."""
_SPARSE: Final = 0.1
"""An instrument with more holes than this share of its bars trades too rarely for its gaps to mean anything."""

_Spans = list[tuple[int, int]]
_EVER: Final[_Spans] = [(0, 1 << 62)]


class _Day(NamedTuple):
    """A day's hours: those that every share has, those that some have, those of derivatives; empty on a closed day."""

    sure: _Spans
    any: _Spans
    derivatives: _Spans


def session_findings(frame: pl.DataFrame, bar_ns: int) -> Iterator[Finding]:
    """Hold sorted bars without duplicates against the sessions by date."""
    frame = frame.with_columns(day=((pl.col("start_ns") + _IST_NS) // DAY_NS).cast(pl.Int32))
    numbers = frame["day"].unique().sort().to_list()
    hours = {number: _hours(_EPOCH + timedelta(days=number)) for number in numbers}
    closed = [number for number, day in hours.items() if not day.any]
    yield from _closed_days(frame, closed)
    open_days = frame.filter(~pl.col("day").is_in(closed))
    yield from _missing_sessions(open_days, hours)
    if bar_ns >= DAY_NS or not open_days.height:
        return
    yield from _end_stamps(open_days, hours, bar_ns)
    yield from _outside(open_days, hours)
    yield from _gaps(open_days, hours, bar_ns)


def _hours(day: date) -> _Day:
    """Return a day's hours; those of an ordinary session for days that the calendar does not cover."""
    try:
        found = windows(day)
    except AtmandError:
        try:
            found = regular_windows(day)
        except AtmandError:
            return _Day([], _EVER, _EVER)  # before any hours that are known: nothing can be said
    groups: dict[int, _Spans] = {}
    for window in found:
        groups.setdefault(window.group, []).append((window.open_ns, window.close_ns))
    shares = [spans for group, spans in groups.items() if group in (WITH_DERIVATIVES, WITHOUT_DERIVATIVES)]
    others = [spans for group, spans in groups.items() if group in (FUTURES, OPTIONS)]
    shortest = min(shares, key=lambda spans: sum(close - opens for opens, close in spans), default=[])
    return _Day(shortest, *(_union(span for spans in each for span in spans) for each in (shares, others)))


def _union(spans: Iterator[tuple[int, int]]) -> _Spans:
    out: _Spans = []
    for opens, close in sorted(spans):
        if out and opens <= out[-1][1]:
            out[-1] = (out[-1][0], max(close, out[-1][1]))
        else:
            out.append((opens, close))
    return out


def _closed_days(frame: pl.DataFrame, closed: list[int]) -> Iterator[Finding]:
    found = frame.filter(pl.col("day").is_in(closed)).group_by("key", "day").agg(*_SPAN)
    for key, _, first, last, count in found.sort("key", "day").iter_rows():
        yield Finding.at("no_session", "warning", key, first, last, count, "the exchange was closed that day")


_SPAN: Final = (
    pl.col("start_ns").min().alias("first"),
    pl.col("start_ns").max().alias("last"),
    pl.len().alias("count"),
)


def _missing_sessions(frame: pl.DataFrame, hours: dict[int, _Day]) -> Iterator[Finding]:
    """Find sessions without a bar between an instrument's first and last: the calendar's and the others'."""
    if not frame.height:
        return
    first, last = int(frame["day"].min()), int(frame["day"].max())  # type: ignore[arg-type]
    known = {number for number, day in hours.items() if day.any}
    low, high = max(first, (calendar().first - _EPOCH).days), min(last, (calendar().last - _EPOCH).days)
    known |= {number for number in range(low, high + 1) if _hours(_EPOCH + timedelta(days=number)).any}
    sessions = pl.DataFrame({"day": sorted(known)}, schema={"day": pl.Int32})
    spans = frame.filter(_continuous()).group_by("key").agg(first=pl.col("day").min(), last=pl.col("day").max())
    wanted = spans.join(sessions, how="cross").filter(pl.col("day").is_between("first", "last"))
    absent = wanted.select("key", "day").join(frame.select("key", "day").unique(), on=["key", "day"], how="anti")
    for key, number in absent.sort("key", "day").iter_rows():
        at = number * DAY_NS - _IST_NS
        yield Finding.at("missing_session", "warning", key, at, at, 1, "a session without a bar")


def _end_stamps(frame: pl.DataFrame, hours: dict[int, _Day], bar_ns: int) -> Iterator[Finding]:
    """Find instruments whose days begin one bar late and have a bar that starts as the session ends."""
    edges = pl.DataFrame(
        [(number, day.any[0][0], day.any[-1][1]) for number, day in hours.items() if day.sure],
        schema={"day": pl.Int32, "opens": pl.Int64, "ends": pl.Int64},
        orient="row",
    )
    days = (
        frame.join(edges, on="day")
        .group_by("key", "day")
        .agg(
            late=pl.col("start_ns").min() == pl.col("opens").first() + bar_ns,
            beyond=(pl.col("start_ns") == pl.col("ends").first()).any(),
            first=pl.col("start_ns").min(),
            last=pl.col("start_ns").max(),
        )
    )
    found = days.group_by("key").agg(
        share=(pl.col("late") & pl.col("beyond")).mean(),
        days=pl.len(),
        first=pl.col("first").min(),
        last=pl.col("last").max(),
    )
    for key, _, count, first, last in found.filter(pl.col("share") >= _STAMPED).sort("key").iter_rows():
        told = "days begin one bar late and end one bar late: stamped at the bar's end"
        yield Finding.at("end_stamp", "error", key, first, last, count, told)


def _outside(frame: pl.DataFrame, hours: dict[int, _Day]) -> Iterator[Finding]:
    starts = frame["start_ns"].to_numpy()
    shares = pl.Series(_inside(starts, [span for day in hours.values() for span in day.any]))
    others = pl.Series(_inside(starts, [span for day in hours.values() for span in day.derivatives]))
    outside = pl.when(_derivative()).then(~others).otherwise(~shares)
    found = frame.filter(outside).group_by("key", "day").agg(*_SPAN)
    for key, _, first, last, count in found.sort("key", "day").iter_rows():
        yield Finding.at("off_session", "warning", key, first, last, count, "outside the day's hours")


def _inside(starts: NDArray[np.int64], spans: _Spans) -> NDArray[np.bool_]:
    """Say which starts lie in one of some spans that do not overlap."""
    if not spans:
        return np.zeros(len(starts), np.bool_)
    opens, closes = np.array(sorted(spans), np.int64).T
    at = np.searchsorted(opens, starts, side="right") - 1
    inside: NDArray[np.bool_] = (at >= 0) & (starts < closes[np.maximum(at, 0)])
    return inside


def _gaps(frame: pl.DataFrame, hours: dict[int, _Day], bar_ns: int) -> Iterator[Finding]:
    """Find runs of missing bars, by instrument and day, on days on which it has bars at all."""
    expected = pl.DataFrame(
        {"day": number, "start_ns": start, "place": place}
        for number, day in hours.items()
        for place, start in enumerate(_steps(day.sure, bar_ns).tolist())
    ) if any(day.sure for day in hours.values()) else None  # fmt: skip
    if expected is None:
        return
    expected = expected.cast({"day": pl.Int32, "place": pl.Int64})
    own = frame.filter(_continuous())
    wanted = own.select("key", "day").unique().join(expected, on="day")
    absent = wanted.join(own.select("key", "start_ns"), on=["key", "start_ns"], how="anti").sort("key", "day", "place")
    runs = absent.with_columns(
        begins=(pl.col("place").diff().over("key", "day") != 1).fill_null(True),
    ).with_columns(run=pl.col("begins").cum_sum().over("key", "day"))
    holes = wanted.group_by("key").len().join(runs.group_by("key").agg(pl.col("begins").sum()), on="key")
    sparse = holes.filter(pl.col("begins") > _SPARSE * pl.col("len"))["key"].to_list()
    runs = runs.filter(~pl.col("key").is_in(sparse))
    found = runs.group_by("key", "day", "run").agg(*_SPAN).sort("key", "first")
    for key, _, _, first, last, count in found.iter_rows():
        yield Finding.at("gap", "warning", key, first, last, count, "bars are missing")


def _steps(spans: _Spans, bar_ns: int) -> NDArray[np.int64]:
    """Return the starts of a day's bars; those of several minutes are anchored at the day's first window."""
    if not spans:
        return np.zeros(0, np.int64)
    anchor = spans[0][0]
    parts = [
        np.arange(anchor + (opens - anchor) // bar_ns * bar_ns, close, bar_ns, dtype=np.int64) for opens, close in spans
    ]
    return np.unique(np.concatenate(parts))


def _derivative() -> pl.Expr:
    return pl.col("key").str.contains(r"^[A-Z]+:(FUT|OPT):")


def _continuous() -> pl.Expr:
    """Say what is held to have a bar for every step: shares and indices."""
    return pl.col("key").str.contains(r"^[A-Z]+:(EQ|INDEX):")
