"""Prices and volumes that hardly can be meant: flat tails, outliers, splits that nobody told, cumulative volumes.

The thresholds are wide on purpose: what is found here should be worth a look.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log
from typing import Final

import polars as pl

from atmand.history.actions import Action
from atmand.history.finding import Finding
from atmand.history.rows import DAY_NS
from atmand.market.sessions import session_date

__all__ = ["odd_findings"]

_IST_NS: Final = 19_800_000_000_000
_TAIL: Final = 5
"""Bars that make a flat tail."""
_JUMP: Final = 0.10
"""A step between neighbouring bars of a day that no share makes; the exchange's own bands begin at a tenth."""
_SPIKE: Final = 0.04
"""A step that the next bar takes back: a misprint even where it is smaller."""
_NIGHT: Final = 0.30
"""A step between two days that is told, whether or not it looks like a split."""
_SPLIT: Final = 0.035
"""How far from a ratio of whole numbers an opening after a split may be."""
_RATIOS: Final = (
    (4, 3), (3, 2), (2, 1), (5, 2), (3, 1), (4, 1), (5, 1), (6, 1), (8, 1), (10, 1), (15, 1), (20, 1), (25, 1),
    (50, 1), (100, 1),
)  # fmt: skip
"""Units for one unit, of the splits and bonuses that are made."""
_CUMULATIVE: Final = 0.98
_DAY_BARS: Final = 30
"""Bars that a day must have before its volume can be called cumulative."""


def odd_findings(frame: pl.DataFrame, bar_ns: int, actions: Sequence[Action]) -> Iterator[Finding]:
    """Look at sorted bars without duplicates."""
    if not frame.height:
        return
    frame = frame.with_columns(day=((pl.col("start_ns") + _IST_NS) // DAY_NS).cast(pl.Int32))
    daily = bar_ns >= DAY_NS
    yield from _flat_tails(frame, daily=daily)
    priced = frame.filter(~pl.col("key").str.contains(r"^[A-Z]+:OPT:"))
    if not daily:
        yield from _outliers(priced)
    yield from _nights(priced, actions)
    if not daily:
        yield from _cumulative(frame)
    yield from _without_volume(frame)


def _flat_tails(frame: pl.DataFrame, *, daily: bool) -> Iterator[Finding]:
    """Find bars at the end of a day (of a series of days: at its end) that repeat one price without volume."""
    group = ["key"] if daily else ["key", "day"]
    flat = (
        (pl.col("high") == pl.col("low"))
        & (pl.col("volume") == 0)
        & (pl.col("close") == pl.col("close").last().over(group))
    )
    tail = (~flat).cast(pl.Int32).cum_sum(reverse=True).over(group) == 0
    found = frame.filter(tail).group_by(group).agg(
        first=pl.col("start_ns").min(), last=pl.col("start_ns").max(), count=pl.len(), close=pl.col("close").last()
    )  # fmt: skip
    for row in found.filter(pl.col("count") >= _TAIL).sort(group).iter_rows(named=True):
        told = f"{row['count']} bars repeat {row['close'] / 100:.2f} without volume"
        yield Finding.at("flat_tail", "warning", row["key"], row["first"], row["last"], row["count"], told)


def _outliers(frame: pl.DataFrame) -> Iterator[Finding]:
    """Find bars that reach far beyond both neighbours, or step further than any share moves in a bar."""
    near = ["key", "day"]
    before, after = pl.col("close").shift(1).over(near), pl.col("open").shift(-1).over(near)
    low, high = pl.min_horizontal(before, after), pl.max_horizontal(before, after)
    reach = pl.max_horizontal(pl.col("high") / high - 1, 1 - pl.col("low") / low)
    step = (pl.col("open") / before - 1).abs()
    found = frame.with_columns(reach=reach, step=step, before=before, after=after).filter(
        ((pl.col("reach") > _SPIKE) & before.is_not_null() & after.is_not_null()) | (pl.col("step") > _JUMP)
    )
    for row in found.sort("key", "start_ns").iter_rows(named=True):
        told = f"{row['low'] / 100:.2f} to {row['high'] / 100:.2f} after {(row['before'] or 0) / 100:.2f}"
        yield Finding.at("outlier", "warning", row["key"], row["start_ns"], row["start_ns"], 1, told)


def _nights(frame: pl.DataFrame, actions: Sequence[Action]) -> Iterator[Finding]:
    """Find openings far from the close before: like a split that no action tells, or like nothing at all."""
    told = {(action.instrument, action.ex_date) for action in actions}
    days = frame.group_by("key", "day", maintain_order=True).agg(
        start_ns=pl.col("start_ns").first(), open=pl.col("open").first(), close=pl.col("close").last()
    )
    nights = days.with_columns(before=pl.col("close").shift(1).over("key")).drop_nulls()
    nights = nights.with_columns(step=(pl.col("before") / pl.col("open")).log()).filter(
        pl.col("step").abs() > log(1.25)
    )
    for row in nights.sort("key", "day").iter_rows(named=True):
        if (row["key"], session_date(row["start_ns"])) in told:
            continue
        at, step = row["start_ns"], row["step"]
        prices = f"{row['before'] / 100:.2f} to {row['open'] / 100:.2f}"
        ratio = _ratio(abs(step))
        if ratio is not None:
            units = f"{ratio[0]}:{ratio[1]}" if step > 0 else f"{ratio[1]}:{ratio[0]}"
            yield Finding.at("split", "warning", row["key"], at, at, 1, f"{prices} overnight: like {units}")
        elif abs(step) > log(1 + _NIGHT):
            yield Finding.at("outlier", "warning", row["key"], at, at, 1, f"{prices} overnight")


def _ratio(step: float) -> tuple[int, int] | None:
    """Return the ratio of units that a step of log prices is near to."""
    nearest = min(_RATIOS, key=lambda ratio: abs(step - log(ratio[0] / ratio[1])))
    return nearest if abs(step - log(nearest[0] / nearest[1])) <= _SPLIT else None


def _cumulative(frame: pl.DataFrame) -> Iterator[Finding]:
    """Find instruments whose volume never falls within a day, or nearly never: it is the day's so far."""
    rises = pl.col("volume").diff().over("key", "day")
    days = frame.with_columns(rises=rises).group_by("key", "day").agg(
        rising=(pl.col("rises") >= 0).mean(), falls=(pl.col("rises") < 0).sum(), bars=pl.len(),
        grows=pl.col("volume").last() > pl.col("volume").first(),
        first=pl.col("start_ns").min(), last=pl.col("start_ns").max(),
    )  # fmt: skip
    days = days.filter(pl.col("bars") >= _DAY_BARS).with_columns(
        looks=(pl.col("rising") >= _CUMULATIVE) & pl.col("grows")
    )
    found = days.group_by("key").agg(
        share=pl.col("looks").mean(), falls=pl.col("falls").sum(), days=pl.len(), first=pl.col("first").min(),
        last=pl.col("last").max(),
    )  # fmt: skip
    for row in found.filter(pl.col("share") > 0.5).sort("key").iter_rows(named=True):
        falls = f"; it falls {row['falls']} times" if row["falls"] else ""
        told = f"the volume is the day's so far, not the bar's{falls}"
        yield Finding.at("volume", "error", row["key"], row["first"], row["last"], row["days"], told)


def _without_volume(frame: pl.DataFrame) -> Iterator[Finding]:
    empty = pl.col("volume") == 0
    found = frame.group_by("key").agg(
        count=empty.sum(), all=empty.all(), first=pl.col("start_ns").filter(empty).min(),
        last=pl.col("start_ns").filter(empty).max(),
    )  # fmt: skip
    for row in found.filter((pl.col("count") > 0) & ~pl.col("all")).sort("key").iter_rows(named=True):
        told = f"{row['count']} bars without volume"
        yield Finding.at("zero_volume", "note", row["key"], row["first"], row["last"], row["count"], told)
