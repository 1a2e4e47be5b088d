"""Laying an arena out: from a session, its instruments and a program to tables with their rows, once a PROGRAM record.

Plain Python, because it happens at a session's opening or on a change of structure; what it writes is a pure function
of the records. State of an arena before goes on where instrument, book and structure are still there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atmand.core.columns import FIXED_COLUMNS
from atmand.core.groups import contracts_of, fill_contracts, fill_groups
from atmand.core.hours import book_hours, flat_times
from atmand.core.layout import ARENA, TABLES, allocate
from atmand.core.manifest import Manifest
from atmand.errors import AtmandError
from atmand.market.costs import COST_GROUPS, cost_rows
from atmand.market.margins import MARGIN_KINDS, margin_rows

__all__ = ["Layout", "LayoutError", "carry_over", "day_of", "lay_out", "table"]

_HASH: Final = 0x9E3779B1
_MAX_OUTPUTS: Final = 65_536
_ROWS_OF_AN_ORDER: Final = 8
"""Audit rows that an order makes in one record at most, but for the levels of the book that it eats."""
_CARRIED: Final = (
    "last_price", "exchange_ns", "tick_ns", "volume", "volume_known", "quoted", "gap_ns", "bid", "ask",
)  # fmt: skip
_TERMS: Final = (
    "cooldown", "max_adds", "max_reduces", "max_trades", "participation_ppm", "limit_entry", "entry_wait_ns",
)  # fmt: skip


class LayoutError(AtmandError):
    """The records do not describe a state that can be laid out."""


@dataclass(frozen=True)
class Layout:
    """An arena and the durable names of its rows."""

    arena: NDArray[np.uint8]
    manifest: Manifest
    keys: tuple[str, ...]
    """Durable instrument keys; the place is the session's dense instrument id."""
    pairs: tuple[tuple[int, int], ...]
    """(book, instrument) of each pair."""

    @property
    def columns_each(self) -> int:
        """Columns of each instrument: the fixed ones, and the program's signals."""
        return FIXED_COLUMNS + len(self.manifest.signals)


def table(arena: NDArray[np.uint8], name: str) -> NDArray[Any]:
    """View one of an arena's tables from Python."""
    header = arena[: ARENA.itemsize].view(ARENA)[0]
    dtype = TABLES[name]
    at, n = int(header[f"{name}_at"]), int(header[f"{name}_n"])
    return arena[at : at + n * dtype.itemsize].view(dtype)


def day_of(yyyymmdd: int) -> date:
    return date(yyyymmdd // 10_000, yyyymmdd // 100 % 100, yyyymmdd % 100)


def lay_out(
    session: NDArray[Any],
    windows: NDArray[Any],
    instruments: NDArray[Any],
    manifest: Manifest,
    pairs: NDArray[Any],
    time_ns: int,
    kept: int = 1,
) -> Layout:
    """Allocate and fill an arena for a session. `session` is the SESSION head; the arrays are the records' rows.

    `kept` closed trades and fills stay in it; the daemon needs none, since its ledger folds them from the audit.
    """
    head = session[0]
    if not len(instruments) or (manifest.books and not len(pairs)):  # without books it only records
        raise LayoutError("PROGRAM", "no instrument is traded by any strategy", "check the strategies' universe")
    keys = tuple(str(key, "ascii") for key in instruments["key"])
    subscriptions = _subscriptions_of(manifest, pairs, keys)
    series = _series_of(manifest, pairs, subscriptions)
    columns_each = FIXED_COLUMNS + len(manifest.signals)
    crowds_each = len(instruments) + int(instruments["sector"].max()) + 1
    contracts = contracts_of(manifest, pairs, instruments, time_ns)
    plans = [manifest.books[int(row["book"])] for row in pairs]
    n_pairs = len(pairs) + len(contracts)
    ring_rows = sum(ring for _, _, ring in series.values())
    tokens = 1 << (2 * len(instruments) + 8).bit_length()
    orders = len(manifest.books) * int(head["orders_per_book"])
    sliced = _ROWS_OF_AN_ORDER * orders if (instruments["freeze"] > 0).any() else 0
    outputs = min(_MAX_OUTPUTS, 256 + 16 * n_pairs + 4 * len(manifest.books) + sliced)
    slab_bytes = sum(_aligned(manifest.structures[manifest.books[int(b)].structure].state_bytes) for b in pairs["book"])
    params_bytes = sum(_aligned(max(1, len(book.values)) * 8) for book in manifest.books)
    arena, extra_at = allocate(
        {
            "instruments": len(instruments),
            "queues": len(instruments),
            "tokens": tokens,
            "windows": len(windows),
            "series": len(series),
            "ring": ring_rows,
            "accounts": len(manifest.accounts),
            "books": len(manifest.books),
            "pairs": n_pairs,
            "groups": sum(bool(plan.legs) for plan in plans),
            "legs": sum(len(plan.legs) for plan in plans),
            "orders": orders,
            "closed": 2 * len(series) + 1,
            "subscriptions": len(subscriptions),
            "columns": len(instruments) * columns_each,
            "outputs": outputs,
            "costs": len(COST_GROUPS),
            "trades": kept,
            "fills": kept,
            "proposals": n_pairs,
            "meetings": len(instruments),
            "comparisons": n_pairs,
            "crowds": len(manifest.accounts) * crowds_each,
            "margins": len(MARGIN_KINDS),
            "scans": 1,
        },
        slab_bytes + params_bytes,
    )
    hours = _hours_of(windows, instruments)
    _fill_header(arena, head, hours, time_ns)
    table(arena, "windows")[: len(windows)] = windows
    table(arena, "costs")[:] = cost_rows(day_of(int(head["costs_date"])), head["brokerage"].decode())
    if (instruments["expiry_ns"] != 0).any():
        table(arena, "margins")[:] = margin_rows(day_of(int(head["costs_date"])))
    _fill_instruments(arena, head, instruments, time_ns)
    _fill_series(arena, series)
    params_at = extra_at + slab_bytes
    traded = [(int(row["book"]), int(row["instrument"])) for row in pairs]
    every = (*traded, *((book, instrument) for book, instrument, _ in contracts))
    flat_ns = flat_times(day_of(int(head["date"])), windows, instruments, manifest, every)
    _fill_books(arena, hours, manifest, flat_ns, params_at)
    _fill_pairs(arena, manifest, pairs, series, extra_at)
    _fill_subscriptions(arena, subscriptions, series)
    arena[: ARENA.itemsize].view(ARENA)["columns_each"] = columns_each
    arena[: ARENA.itemsize].view(ARENA)["crowds_each"] = crowds_each
    fill_groups(table(arena, "groups"), table(arena, "legs"), table(arena, "pairs"), plans)
    fill_contracts(table(arena, "pairs"), table(arena, "instruments"), contracts, len(pairs))
    table(arena, "books")["first_pair"] = -1
    _link(table(arena, "pairs")["book"], table(arena, "pairs")["next_in_book"], table(arena, "books")["first_pair"])
    return Layout(arena, manifest, keys, every)


def _aligned(size: int) -> int:
    return (size + 63) // 64 * 64


class _Subscription(NamedTuple):
    """A pair's stream: the series that feeds it, and the bars that it wants kept."""

    pair: int
    stream: int
    instrument: int
    period_ns: int
    ring_bars: int


def _subscriptions_of(manifest: Manifest, pairs: NDArray[Any], keys: tuple[str, ...]) -> list[_Subscription]:
    """List what every pair looks at beside its own bars; the session's table must hold what is named."""
    found: list[_Subscription] = []
    for index, row in enumerate(pairs):
        book = manifest.books[int(row["book"])]
        if book.structure < 0:
            continue
        for stream, plan in enumerate(manifest.structures[book.structure].streams):
            instrument = _named(plan.instrument, keys, book.strategy) if plan.instrument else int(row["instrument"])
            found.append(_Subscription(index, stream, instrument, plan.period_ns, plan.ring_bars))
    return found


def _named(name: str, keys: tuple[str, ...], strategy: str) -> int:
    """Return the place of an instrument by its key or by its shown name, `NSE:INFY`."""
    for place, key in enumerate(keys):
        parts = key.split(":")
        if name == key or (len(parts) == 3 and name == f"{parts[0]}:{parts[2]}"):
            return place
    raise LayoutError(
        f"strategy {strategy}", f"{name} is not in the session's table", "add its data, or correct the name"
    )


def _series_of(
    manifest: Manifest, pairs: NDArray[Any], subscriptions: list[_Subscription]
) -> dict[tuple[int, int], tuple[int, int, int]]:
    """Collect the distinct (instrument, period) with their index, where their ring begins, and its size."""
    sizes: dict[tuple[int, int], int] = {}
    for row in pairs:
        structure = manifest.structures[manifest.books[int(row["book"])].structure]
        key = (int(row["instrument"]), structure.period_ns)
        sizes[key] = max(sizes.get(key, 2), structure.ring_bars)
    for subscription in subscriptions:
        key = (subscription.instrument, subscription.period_ns)
        sizes[key] = max(sizes.get(key, 2), subscription.ring_bars)
    series: dict[tuple[int, int], tuple[int, int, int]] = {}
    at = 0
    for index, (key, size) in enumerate(sizes.items()):
        series[key] = (index, at, size)
        at += size
    return series


def _hours_of(windows: NDArray[Any], instruments: NDArray[Any]) -> NDArray[Any]:
    """Return the windows of the groups that the session's instruments are in: they say when its day begins and ends."""
    own = windows[np.isin(windows["group"], instruments["group"])]
    return own if len(own) else windows


def _fill_header(arena: NDArray[np.uint8], head: Any, windows: NDArray[Any], time_ns: int) -> None:
    header = arena[: ARENA.itemsize].view(ARENA)
    for name in (
        "date", "grace_ns", "grid_ns", "latency_low_ns", "latency_high_ns", "path_last_ns", "seed",
        "protection_bps", "entry_wait_ns", "stale_ns",
    ):  # fmt: skip
        header[name] = head[name]
    header["session_flags"] = head["flags"]
    header["time_ns"] = time_ns
    header["entries"] = 1
    header["decisions"] = 1
    header["refold"] = 1
    header["first_working"] = header["last_working"] = -1
    header["session_open_ns"] = windows["open_ns"].min()
    header["session_close_ns"] = windows["close_ns"].max()


def _fill_instruments(arena: NDArray[np.uint8], head: Any, rows: NDArray[Any], time_ns: int) -> None:
    """Fill instruments and the token table. A session that opens before the market does knows its volume is zero."""
    instruments = table(arena, "instruments")
    tokens = table(arena, "tokens")
    opened_before = time_ns <= int(arena[: ARENA.itemsize].view(ARENA)["session_open_ns"][0])
    for name in (
        "token", "price_scale", "tick", "lot", "freeze", "lower_band", "upper_band", "group", "cost_group", "tradable",
        "underlying", "expiry_ns", "strike", "right",
    ):  # fmt: skip
        instruments[name] = rows[name]
    instruments["sector"] = rows["sector"]
    table(arena, "queues")["last_order"] = -1
    for name in ("first_series", "first_pair", "first_order"):
        instruments[name] = -1
    instruments["volume_known"] = opened_before
    instruments["gap_ns"] = 0 if opened_before else time_ns
    windows = table(arena, "windows")
    for group in np.unique(instruments["group"]):
        closes = windows["close_ns"][windows["group"] == group]
        instruments["close_ns"][instruments["group"] == group] = closes.max(initial=0)
    mask = len(tokens) - 1
    for index, token in enumerate(rows["token"]):
        place = ((int(token) * _HASH) >> 8) & mask
        while tokens["token"][place] != 0:
            place = (place + 1) & mask
        tokens[place] = (token, index)


def _fill_series(arena: NDArray[np.uint8], series: dict[tuple[int, int], tuple[int, int, int]]) -> None:
    rows = table(arena, "series")
    instruments = table(arena, "instruments")
    for (instrument, period_ns), (index, ring_at, ring_size) in series.items():
        row = rows[index]
        row["instrument"] = instrument
        row["period_ns"] = period_ns
        row["ring_at"] = ring_at
        row["ring_size"] = ring_size
        row["first_pair"] = row["first_subscription"] = -1
        row["next"] = instruments["first_series"][instrument]
        instruments["first_series"][instrument] = index


def _fill_books(
    arena: NDArray[np.uint8], windows: NDArray[Any], manifest: Manifest, flat_ns: list[int], at: int
) -> None:
    """Fill accounts and books. Limits are zero, so nothing trades before a LIMITS record; so is the capital."""
    rows = table(arena, "books")
    open_ns, close_ns = int(windows["open_ns"].min()), int(windows["close_ns"].max())
    for index, plan in enumerate(manifest.books):
        row = rows[index]
        row["account"] = manifest.accounts.index(plan.account)
        row["structure"] = plan.structure
        row["delivery"] = plan.delivery
        row["run_off"] = plan.run_off
        row["params_at"] = at
        row["params_size"] = len(plan.values) * 8
        row["lookback_slots"] = manifest.structures[plan.structure].lookback_slots
        for name in _TERMS:
            row[name] = getattr(plan, name)
        row["entry_from_ns"], row["entry_to_ns"], row["square_off_ns"] = book_hours(
            plan, open_ns, close_ns, flat_ns[index]
        )
        arena[at : at + len(plan.values) * 8].view(np.float64)[:] = plan.values
        at += _aligned(max(1, len(plan.values)) * 8)
    for index in range(len(manifest.accounts)):
        table(arena, "accounts")[index]["books"] = sum(int(row["account"]) == index for row in rows)


def _fill_pairs(
    arena: NDArray[np.uint8],
    manifest: Manifest,
    pairs: NDArray[Any],
    series: dict[tuple[int, int], tuple[int, int, int]],
    slab_at: int,
) -> None:
    """Fill pairs; the lists by series and by instrument run in the order of the rows."""
    every = table(arena, "pairs")
    for name in ("entry_order", "exit_order", "target_order", "group_row", "leg", "first_subscription"):
        every[name] = -1
    every["next_in_series"] = every["next_in_instrument"] = -1
    if not len(pairs):
        return
    rows = every[: len(pairs)]
    structures = np.array([plan.structure for plan in manifest.books])[pairs["book"]]
    periods = np.array([structure.period_ns for structure in manifest.structures])[structures]
    sizes = np.array([_aligned(structure.state_bytes) for structure in manifest.structures])[structures]
    rows["book"], rows["instrument"], rows["structure"] = pairs["book"], pairs["instrument"], structures
    keys = zip(pairs["instrument"].tolist(), periods.tolist(), strict=True)
    rows["series"] = [series[key][0] for key in keys]
    _link(rows["series"], rows["next_in_series"], table(arena, "series")["first_pair"])
    _link(rows["instrument"], rows["next_in_instrument"], table(arena, "instruments")["first_pair"])
    rows["slab_at"] = slab_at + np.cumsum(sizes) - sizes


def _fill_subscriptions(
    arena: NDArray[np.uint8],
    subscriptions: list[_Subscription],
    series: dict[tuple[int, int], tuple[int, int, int]],
) -> None:
    """Fill the subscriptions; the lists by series and by pair run in the order of the rows."""
    rows, pairs, series_rows = table(arena, "subscriptions"), table(arena, "pairs"), table(arena, "series")
    for index in range(len(subscriptions) - 1, -1, -1):
        wanted, row = subscriptions[index], rows[index]
        place = series[wanted.instrument, wanted.period_ns][0]
        row["pair"], row["stream"], row["series"] = wanted.pair, wanted.stream, place
        for owner, at, following in ((series_rows, place, "next_in_series"), (pairs, wanted.pair, "next_in_pair")):
            row[following], owner["first_subscription"][at] = owner["first_subscription"][at], index


def _link(owners: NDArray[Any], following: NDArray[Any], first: NDArray[Any]) -> None:
    """Link the rows of each owner in their order; `first` is where an owner's list begins."""
    order = np.argsort(owners, kind="stable")
    same = owners[order[1:]] == owners[order[:-1]]
    following[:] = -1
    following[order[:-1][same]] = order[1:][same]
    begins = order[np.concatenate(([True], ~same))]
    first[owners[begins]] = begins


def carry_over(before: Layout, after: Layout, copies: NDArray[Any], time_ns: int) -> None:
    """Bring bars, quotes and strategy state from the arena before into the new one, by durable key, inside a session.

    `copies` is the PROGRAM rows' `copy_from`: the pair before whose indicator state goes on, or -1 to fold it again
    from the ring.
    """
    names = {key: index for index, key in enumerate(before.keys)}
    old_rows, new_rows = table(before.arena, "instruments"), table(after.arena, "instruments")
    for index, key in enumerate(after.keys):
        old = names.get(key)
        if old is None:  # it joins now: what was traded before is not known
            new_rows["volume_known"][index], new_rows["gap_ns"][index] = 0, time_ns
            continue
        for name in _CARRIED:
            new_rows[name][index] = old_rows[name][old]
    _carry_series(before, after, names)
    _carry_columns(before, after, names)
    pairs_before, pairs_after = table(before.arena, "pairs"), table(after.arena, "pairs")
    going_on = np.flatnonzero(copies >= 0)
    sources = copies[going_on]
    pairs_after["folded"][going_on] = 1
    pairs_after["ready"][going_on] = pairs_before["ready"][sources]
    old_words, new_words = _words(before.arena), _words(after.arena)
    for structure, plan in enumerate(after.manifest.structures):
        mine = pairs_after["structure"][going_on] == structure
        words = np.arange(_aligned(plan.state_bytes) // 8)
        into = pairs_after["slab_at"][going_on[mine]][:, None] // 8 + words
        new_words[into] = old_words[pairs_before["slab_at"][sources[mine]][:, None] // 8 + words]


def _words(arena: NDArray[np.uint8]) -> NDArray[np.int64]:
    """View an arena as words: every slab begins at one, and is a whole number of them."""
    return arena[: arena.size // 8 * 8].view(np.int64)


def _carry_columns(before: Layout, after: Layout, names: dict[str, int]) -> None:
    """Bring values from outside along: the fixed columns by number, signals by name."""
    old, new = (
        table(layout.arena, "columns")[: len(layout.keys) * layout.columns_each].reshape(len(layout.keys), -1)
        for layout in (before, after)
    )
    signals = {name: place for place, name in enumerate(before.manifest.signals)}
    sources = [*range(FIXED_COLUMNS), *(FIXED_COLUMNS + signals.get(n, -9999) for n in after.manifest.signals)]
    for index, key in enumerate(after.keys):
        if key in names:
            for column, source in enumerate(sources):
                if source >= 0:
                    new[index, column] = old[names[key], source]


def _carry_series(before: Layout, after: Layout, names: dict[str, int]) -> None:
    old_rows, new_rows = table(before.arena, "series"), table(after.arena, "series")
    old_ring, new_ring = table(before.arena, "ring"), table(after.arena, "ring")
    columns = ("instrument", "period_ns", "count", "ring_size", "ring_at")
    old_cells = list(zip(*(old_rows[name].tolist() for name in columns), strict=True))
    places = {(instrument, period): index for index, (instrument, period, *_) in enumerate(old_cells)}
    cells = zip(*(new_rows[name].tolist() for name in columns), strict=True)
    for index, (instrument, period, _, room, at) in enumerate(cells):
        old = places.get((names.get(after.keys[instrument], -1), period))
        if old is None:
            continue
        _, _, count, size, old_at = old_cells[old]
        for bars in _kept(old_ring[old_at : old_at + size], count, min(size, room)):
            new_ring[at : at + len(bars)] = bars
            at += len(bars)
        new_rows["count"][index] = min(count, size, room)
        for name in ("closed_ns", "building", "pending"):
            new_rows[name][index] = old_rows[name][old]


def _kept(ring: NDArray[Any], count: int, room: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the newest bars of a ring, oldest first, in two pieces: up to its end, and from its beginning."""
    wanted = min(count, room)
    end = count % len(ring)
    if wanted <= end:
        return ring[end - wanted : end], ring[:0]
    return ring[len(ring) - (wanted - end) :], ring[:end]
