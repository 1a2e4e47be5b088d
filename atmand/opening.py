"""Opening a session in the daemon: what the configuration and the calendar say of today.

Pure but for reading strategy files; `core/opening.py` turns the answer into records.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from datetime import date, timedelta
from importlib import metadata
from typing import Final

from atmand.core.bar_path import PATH_LAST_NS
from atmand.core.manifest import BookPlan, Manifest
from atmand.core.opening import BookLimits, SessionTerms
from atmand.core.records import SessionFlag
from atmand.core.run_off import heir_of
from atmand.errors import AtmandError
from atmand.lang.program import Deployment
from atmand.lang.strategy import load_strategy
from atmand.lang.user_indicators import use_indicators
from atmand.market.costs import cost_rows
from atmand.market.sessions import SessionError, Window, next_session, regular_windows, session_date, windows
from atmand.params.resolve import Resolution
from atmand.portfolio import Money, account_equity, share_of
from atmand.settings import Settings
from atmand.start import kernel_digest

__all__ = [
    "book_limits",
    "check_costs",
    "deployments_of",
    "history_days",
    "limits_of",
    "machine_digest",
    "session_day",
    "terms_of",
]

_DAY_NS: Final = 86_400_000_000_000
_SESSION_NS: Final = 375 * 60_000_000_000
_LONGEST_DAYS: Final = 59
"""The broker answers at most 60 days of one-minute candles in a request (kite.trade/forum, historical data limits)."""


def deployments_of(settings: Settings) -> list[Deployment]:
    """Load the enabled strategies' files; AtmandError where one is refused, or where nothing is left to do."""
    use_indicators(settings.indicators)
    found = [
        Deployment(load_strategy(strategy.file), strategy.account, strategy.params, name)
        for name, strategy in settings.strategies.items()
        if strategy.enabled
    ]
    if not found and not settings.record.universe:
        remedy = "write [strategies.NAME] with a file, or [record] universe to record without one"
        raise AtmandError(str(settings.path), "no strategy is enabled", remedy)
    return found


def session_windows(day: date) -> tuple[Window, ...]:
    """Return a day's continuous windows; for days that the calendar does not cover, the hours then in force."""
    try:
        return tuple(windows(day))
    except SessionError:
        return tuple(regular_windows(day))


def session_day(now_ns: int, *, simulated: bool) -> date:
    """Return the day of the session that is on or comes next. A simulated market's day is the one it says it is."""
    today = session_date(now_ns)
    if simulated:
        return today
    hours = session_windows(today)
    return today if hours and now_ns < max(window.close_ns for window in hours) else next_session(today)


def terms_of(settings: Settings, day: date, *, simulated: bool, bar_path: bool, seed: int) -> SessionTerms:
    """Return the session's terms: settings that change decisions, fixed until the next session."""
    market = settings.market
    flags = (SessionFlag.SIMULATED if simulated else 0) | (SessionFlag.BAR_PATH if bar_path else 0)
    return SessionTerms(
        day=day,
        windows=session_windows(day),
        seed=seed,
        flags=int(flags),
        grace_ns=market.grace_ns,
        latency_ns=market.latency_ns,
        path_last_ns=PATH_LAST_NS if bar_path else 0,
        costs_day=market.costs_as_of,
        brokerage=market.brokerage,
        protection_bps=market.protection_bps,
        entry_wait_ns=market.entry_wait_ns,
        stale_ns=market.stale_after_ns,
        code=kernel_digest(),
        machine=machine_digest(),
    )


def check_costs(settings: Settings, day: date) -> None:
    """Refuse, before anything is compiled, a day that has no costs: CostsError says how to name another one's."""
    cost_rows(settings.market.costs_as_of or day, settings.market.brokerage)


def limits_of(settings: Settings) -> dict[str, int]:
    """Return the operator's limits by their names in the configuration: what a parameter document may tighten."""
    found = settings.limits.model_dump()
    return {name: value for name, value in found.items() if not isinstance(value, bool)}


def book_limits(
    settings: Settings, manifest: Manifest, parameters: Resolution, money: Mapping[str, Money] | None = None
) -> list[BookLimits]:
    """Return the limits of every book, in the manifest's order: the operator's, as tight as the document makes them.

    `money` says by `strategy@account` what the books are worth now: shares of the equity are counted from it.
    """
    limits = settings.limits.model_copy(update=dict(parameters.risk))
    weights = {book.name: book.weight for book in parameters.books}
    return [
        BookLimits(
            capital_paise=_capital(settings, plan, weights.get(plan.strategy, 1.0), money or {}),
            order_value_paise=limits.order_value_paise,
            position_value_paise=limits.position_value_paise,
            daily_loss_paise=limits.daily_loss_paise,
            open_positions=limits.open_positions,
            orders_a_day=limits.orders_a_day,
        )
        for plan in manifest.books
    ]


def _sessions(bars: int, period_ns: int) -> int:
    """Return in how many sessions so many bars are made; a bar of a day takes one."""
    return -(-bars * min(period_ns, _SESSION_NS) // _SESSION_NS)


def _capital(settings: Settings, plan: BookPlan, weight: float, money: Mapping[str, Money]) -> int:
    """Return a book's capital: what the operator gives the strategy, less what its run-off books hold of it."""
    name = f"{plan.strategy}@{plan.account}"
    if plan.run_off:
        return money[name].capital_paise if name in money else 0
    strategy = settings.strategies[plan.strategy]
    whole = strategy.capital_paise
    if strategy.capital is not None:
        mine = [one for book, one in money.items() if book.endswith(f"@{plan.account}")]
        whole = int(account_equity(settings.portfolio, mine) * share_of(strategy.capital))
    lent = sum(one.capital_paise for book, one in money.items() if heir_of(book) == name)
    return max(0, int(whole * weight) - lent)


def history_days(manifest: Manifest) -> timedelta:
    """Return how far back candles are worth fetching: the longest look-back, in sessions, with weekends between."""
    spans = [_sessions(plan.history_bars, manifest.structures[plan.structure].period_ns) for plan in manifest.books]
    for plan in manifest.books:
        streams = manifest.structures[plan.structure].streams
        spans += [_sessions(n, stream.period_ns) for n, stream in zip(plan.stream_bars, streams, strict=True)]
    sessions = max(spans, default=1) + 1
    return timedelta(days=min(_LONGEST_DAYS, sessions * 7 // 5 + 4))


def machine_digest() -> bytes:
    """Return a digest of what floats may depend on: processor features, the C library, numba."""
    import llvmlite.binding as llvm

    features = sorted(name for name, present in llvm.get_host_cpu_features().items() if present)
    facts = [llvm.get_host_cpu_name(), *features, *platform.libc_ver(), metadata.version("numba")]
    return hashlib.sha256("\0".join(facts).encode()).digest()
