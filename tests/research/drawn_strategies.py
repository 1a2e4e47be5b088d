"""What the drawn parity test draws: whole strategy files, and short markets of two sessions for them to trade in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
from hypothesis import strategies as st

from atmand.core.opening import BookLimits
from atmand.history.bars import BAR, Bars
from atmand.lang.program import Deployment
from atmand.lang.strategy import parse_strategy
from atmand.market.instruments import Instrument
from atmand.market.sessions import ns

DAYS: Final = ((date(2026, 7, 6), date(2026, 7, 7)), (date(2025, 4, 1), date(2025, 4, 3)))
MOST_BARS: Final = 300
_MINUTE_NS: Final = 60_000_000_000
_SYMBOLS: Final = ("AAA", "BBB")

whole = st.sampled_from(["2", "3", "4", "pace"])
small = st.floats(0.1, 4).map(lambda x: f"{x:.2f}")

prices = st.one_of(
    st.sampled_from(["open", "high", "low", "close[1]", "vwap()", "typprice()", "day_open", "prev_day.close", "mid"]),
    st.tuples(st.sampled_from(["ema", "sma", "wma", "highest", "lowest", "rolling_median", "kama"]), whole).map(
        lambda p: f"{p[0]}({p[1]})"
    ),
    st.sampled_from(["bbands(3, 1.5).upper", "bbands(3, 1.5).lower", "donchian(3).upper[1]", "sar(0.02, 0.2)"]),
)
market_rules = st.one_of(
    st.sampled_from(["close > open", "close < open", "close > close[1]", "low < low[1] and high > high[1]"]),
    st.tuples(st.sampled_from("<>"), prices).map(lambda p: f"close {p[0]} {p[1]}"),
    st.tuples(st.sampled_from(["above", "below"]), prices).map(lambda p: f"crosses_{p[0]}(close, {p[1]})"),
    st.tuples(whole, st.sampled_from("<>"), st.sampled_from(["30", "50", "70", "level"])).map(
        lambda p: f"rsi({p[0]}) {p[1]} {p[2]}"
    ),
    st.tuples(st.sampled_from(["rising", "falling"]), st.integers(1, 2)).map(lambda p: f"{p[0]}(close, {p[1]})"),
    st.sampled_from(
        [
            "macd(2, 4, 2).hist > 0", "stochf(3, 2).k < 20", "minutes_since_open % 5 == 0", "minutes_to_close > 15",
            "gap > 0", "close > opening_range(3).high", "bars_since(close > open, 4) > 1", "obv() > obv()[1]",
            "latch(close > open, close < low[1], 6)", "volume > sma(volume, 3)", "weekday < 2", "level > 50",
            "count(close > open, 4) >= 3", "valuewhen(close > open, close, 5) < close", "mfi(3) > 50",
        ]
    ),
)  # fmt: skip
own_rules = st.sampled_from(
    [
        "bars_held >= 2", "profit_r > 0.5", "profit > 1", "profit < -1", "trades_today < 2", "close > entry_price",
        "position_value > 20000", "position > 5",
    ]
)  # fmt: skip


def joined(rules: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A rule, or two in one."""
    two = st.tuples(rules, st.sampled_from(["and", "or", "and not"]), rules)
    return st.one_of(rules, two.map(lambda p: f"({p[0]}) {p[1]} ({p[2]})"))


entries = joined(market_rules)
exits = joined(st.one_of(market_rules, own_rules))
distances = st.one_of(
    small, small.map(lambda x: f"{x} %"), small.map(lambda x: f"{x} * atr(2)"), st.just("wide"), st.just("level / 20 %")
)
sizes = st.one_of(
    st.sampled_from(["1", "7", "50", "4000"]).map(lambda x: f"quantity = {x}"),
    st.sampled_from(["100", "30000", "900000"]).map(lambda x: f"value = {x}"),
    st.sampled_from(["0.5", "5", "100"]).map(lambda x: f"percent = {x}"),
    st.sampled_from(["50", "900"]).map(lambda x: f"risk = {x}"),
)


@st.composite
def files(draw: st.DrawFn, symbols: tuple[str, ...], opened: int, last: int) -> str:
    """A strategy file for sessions that begin `opened` and end `last` minutes after 09:15."""

    def maybe(text: st.SearchStrategy[str], form: str, chance: int = 2) -> str:
        return f"{form.format(draw(text))}\n" if draw(st.integers(1, chance)) == chance else ""

    def clock(first: int = opened, latest: int = last + 2) -> st.SearchStrategy[str]:
        return st.integers(first, latest).map(lambda m: f'"{(555 + m) // 60:02}:{(555 + m) % 60:02}"')

    universes = [[f"NSE:{symbol}"] for symbol in symbols] + [[f"NSE:{symbol}" for symbol in symbols]]
    sides = draw(st.sampled_from(["both", "both", "long", "short"]))
    product = draw(st.sampled_from(["MIS", "MIS", "CNC"])) if sides == "long" else "MIS"
    size = draw(sizes)
    traded = ("long", "short") if sides == "both" else (sides,)
    entry = "".join(f'{side} = "{draw(entries)}"\n' for side in traded)
    added = "".join(maybe(exits, f'add_{side} = "{{}}"', 3) for side in traded)
    taken = "".join(maybe(exits, f'reduce_{side} = "{{}}"', 3) for side in traded)
    left = "".join(maybe(exits, f'{side} = "{{}}"') for side in traded)
    loss = f'loss = "{draw(distances)}"\n' if "risk" in size else maybe(distances, 'loss = "{}"')
    trail = maybe(distances, 'trail = "{}"', 3)
    trail += maybe(distances, 'trail_after = "{}"') if trail else ""
    squared = maybe(clock(max(opened, 1), min(last + 2, 375)), "square_off = {}", 3)
    limit = draw(st.sampled_from(["", "", "low", "close - 0.5", "mid", "close + 0.3"]))
    return f"""name = "drawn"
universe = {draw(st.sampled_from(universes))}
[session]
{maybe(clock(), "entry_from = {}", 8)}{maybe(clock(), "entry_to = {}", 8)}{squared}
[params]
pace = {{ default = {draw(st.integers(2, 5))}, range = [2, 5], unit = "bars" }}
level = {{ default = {draw(st.integers(20, 80))}, range = [0, 100] }}
wide = {{ default = {draw(small)}, range = [0, 5], unit = "rupees" }}
[signals]
mid = "(high + low) / 2"
[entry]
{entry}{added}
[exit]
{left}{taken}{maybe(st.sampled_from("13"), "max_reduces = {}")}
[stop]
{loss}{maybe(distances, 'target = "{}"')}{trail}{maybe(distances, 'breakeven = "{}"', 4)}
{maybe(whole, 'bars = "{}"', 4)}
[size]
{size}
{maybe(st.sampled_from(["0.5", "1", "2"]), "add = {}") if added else ""}{"reduce = 0.4" if taken else ""}
[trade]
product = "{product}"
sides = "{sides}"
{maybe(st.sampled_from("126"), "max_trades_a_day = {}", 4)}{maybe(st.sampled_from("13"), "cooldown = {}", 4)}
{maybe(st.sampled_from("23"), "max_adds = {}") if added else ""}{maybe(small, 'rank = "{} * close - high"', 4)}
{'order = "limit"' if limit else ""}
{f'limit = "{limit}"' if limit else ""}
{maybe(st.sampled_from(["20", "59", "61", "200"]), "wait = {}", 3)}
"""


@dataclass(frozen=True)
class Drawn:
    """Some strategies, what they may do, and the market that they trade in."""

    deployments: tuple[Deployment, ...]
    limits: tuple[BookLimits, ...]
    instruments: tuple[Instrument, ...]
    bars: Bars
    terms: dict[str, Any]
    number: int
    """Chooses the prices."""

    def __repr__(self) -> str:
        """Tell a failing example by its files."""
        texts = "\n".join(deployment.file.source.text for deployment in self.deployments)
        return f"{texts}\n{self.limits}\n{self.instruments}\n{self.terms}"


@st.composite
def markets(draw: st.DrawFn, most_books: int) -> Drawn:
    """Draw up to `most_books` strategies and a market of at most `MOST_BARS` bars."""
    symbols = _SYMBOLS[: draw(st.integers(1, 2))]
    each = MOST_BARS // 2 // len(symbols) // draw(st.sampled_from([4, 3, 2, 1]))
    opened = draw(st.sampled_from([0, 0, 375 - each]))
    texts = st.lists(
        files(symbols, opened, opened + each), min_size=draw(st.integers(1, most_books)), max_size=most_books
    )
    books = [
        Deployment(
            parse_strategy(text, f"drawn_{place}.toml"),
            account=draw(st.sampled_from(["one", "two"])),
            name=f"drawn_{place}",
        )
        for place, text in enumerate(draw(texts))
    ]
    number = draw(st.integers(0, 2**32))
    return Drawn(
        tuple(books),
        tuple(draw(_limits()) for _ in books),
        tuple(_share(draw, place, symbol) for place, symbol in enumerate(symbols)),
        _bars(draw, number, symbols, each, opened),
        draw(_terms()),
        number,
    )


@st.composite
def _limits(draw: st.DrawFn) -> BookLimits:
    changed: dict[str, int] = {}
    for name, values in (
        ("order_value_paise", [20_000_00]), ("position_value_paise", [60_000_00]), ("open_positions", [1]),
        ("daily_loss_paise", [50_00, 900_00]), ("orders_a_day", [4, 15]),
    ):  # fmt: skip
        if draw(st.integers(1, 6)) == 6:
            changed[name] = draw(st.sampled_from(values))
    return BookLimits(draw(st.sampled_from([2_000_000_00, 2_000_000_00, 40_000_00])), **changed)


@st.composite
def _terms(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "seed": draw(st.integers(1, 9)),
        "latency_ns": draw(
            st.sampled_from([(50_000_000, 150_000_000), (0, 0), (3_000_000_000, 25_000_000_000), (0, 90_000_000_000)])
        ),
        "grace_ns": draw(st.sampled_from([1_000_000_000, 1_000_000_000, 0, 2_350_000_000])),
        "entry_wait_ns": draw(st.sampled_from([30_000_000_000, 120_000_000_000])),
        "protection_bps": draw(st.sampled_from([100, 2])),
        "orders_per_book": draw(st.sampled_from([256, 4])),
    }


def _share(draw: st.DrawFn, place: int, symbol: str) -> Instrument:
    banded = draw(st.integers(1, 5)) == 5
    return Instrument(
        key=f"NSE:EQ:{symbol}", isin="", token=(1000 + place) << 8 | 1, exchange="NSE", segment="EQ", symbol=symbol,
        name=symbol, price_scale=100, tick=draw(st.sampled_from([5, 5, 10])), lot=draw(st.sampled_from([1, 1, 3])),
        freeze=draw(st.sampled_from([0, 0, 7, 60])), lower_band=9_600 if banded else 0,
        upper_band=10_400 if banded else 0, tradable=True, sector="",
    )  # fmt: skip


def _bars(draw: st.DrawFn, number: int, symbols: tuple[str, ...], each: int, opened: int) -> Bars:
    """Draw two sessions of a random walk round 100 rupees, with minutes that are missing and some without volume."""
    days = draw(st.sampled_from(DAYS))
    rng = np.random.default_rng(number)
    step, gone = draw(st.sampled_from([3, 8, 30])), draw(st.sampled_from([0.0, 0.1, 0.5]))
    volume = draw(st.sampled_from([40, 3_000, 90_000]))
    times = np.concatenate([ns(day, "09:15") + (opened + np.arange(each)) * _MINUTE_NS for day in days])
    series = {}
    for symbol in symbols:
        rows = np.zeros(2 * each, BAR)
        rows["start_ns"] = times
        close = np.maximum(500, 10_000 + np.cumsum(rng.integers(-step, step + 1, len(rows))) * 10)
        rows["close"], rows["open"] = close, np.concatenate([[10_000], close[:-1]])
        rows["open"] += rng.integers(-1, 2, len(rows)) * (rng.random(len(rows)) < 0.2) * 10
        rows["high"] = np.maximum(rows["open"], rows["close"]) + rng.integers(0, step + 1, len(rows)) * 10
        rows["low"] = np.minimum(rows["open"], rows["close"]) - rng.integers(0, step + 1, len(rows)) * 10
        rows["low"] = np.maximum(rows["low"], 10)
        rows["volume"] = rng.integers(0, volume, len(rows))
        kept = rng.random(len(rows)) >= gone
        kept[0] = True
        series[symbol] = rows[kept]
    return Bars("drawn", symbols, series)
