"""Opening a session in the daemon: what the configuration and the calendar say of today.

Pure but for reading strategy files; `core/opening.py` turns the answer into records.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from datetime import date, timedelta
from importlib import metadata
from pathlib import Path
from typing import Final

from atmand.core.bar_path import PATH_LAST_NS
from atmand.core.manifest import Manifest
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
from atmand.portfolio import Money, account_equity, given_share, share_of, shared_out
from atmand.settings import Settings, load
from atmand.start import builtin, find_configuration, kernel_digest

__all__ = [
    "book_limits",
    "check_costs",
    "deployments_of",
    "history_days",
    "limits_of",
    "machine_digest",
    "session_day",
    "terms_of",
    "use_indicators_of",
]

_DAY_NS: Final = 86_400_000_000_000
_SESSION_NS: Final = 375 * 60_000_000_000
_LONGEST_DAYS: Final = 59
"""The broker answers at most 60 days of one-minute candles in a request (kite.trade/forum, historical data limits)."""


def deployments_of(settings: Settings) -> list[Deployment]:
    """Load the enabled strategies' files; AtmandError where one is refused, or where nothing is left to do."""
    use_indicators(settings.indicators)
    found = [
        Deployment(
            load_strategy(strategy.file),
            strategy.account,
            strategy.params,
            name,
            share=given_share(settings.portfolio, strategy.capital_rupees, strategy.capital),
            by_weight=strategy.capital == "weight",
        )
        for name, strategy in settings.strategies.items()
        if strategy.enabled
    ]
    if not found and not settings.record.universe:
        remedy = "write [strategies.NAME] with a file, or [record] universe to record without one"
        raise AtmandError(str(settings.path), "no strategy is enabled", remedy)
    return found


def use_indicators_of(config: Path | None) -> None:
    """Take the indicators of a configuration into use, where there is one."""
    if find_configuration(config) != builtin("demo.toml"):
        use_indicators(load(config).indicators)


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
    capitals = _capitals(settings, manifest, {book.name: book.weight for book in parameters.books}, money or {})
    return [
        BookLimits(
            capital_paise=capitals[f"{plan.strategy}@{plan.account}"],
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


def _capitals(
    settings: Settings, manifest: Manifest, weights: Mapping[str, float | None], money: Mapping[str, Money]
) -> dict[str, int]:
    """Return by name what every book is given in all, in paise, so that an account's books are worth no more than it.

    A book that lives by a share is brought to the share's worth: it gives up, or gets, what it has made beyond it.
    """
    found: dict[str, int] = {}
    sharing: dict[str, dict[str, float | None]] = {}
    for plan in manifest.books:
        name = f"{plan.strategy}@{plan.account}"
        if plan.run_off:
            found[name] = money[name].capital_paise if name in money else 0
            continue
        strategy, weight = settings.strategies[plan.strategy], weights.get(plan.strategy)
        if strategy.capital is None:
            lent = sum(one.capital_paise for book, one in money.items() if heir_of(book) == name)
            found[name] = max(0, int(strategy.capital_paise * (1.0 if weight is None else weight)) - lent)
        elif strategy.capital == "weight":
            sharing.setdefault(plan.account, {})[name] = weight
        else:
            sharing.setdefault(plan.account, {})[name] = share_of(strategy.capital) * (
                1.0 if weight is None else weight
            )
    for account, wanted in sharing.items():
        found |= _shares(settings, account, wanted, found, money)
    return found


def _shares(
    settings: Settings, account: str, wanted: Mapping[str, float | None], found: Mapping[str, int],
    money: Mapping[str, Money],
) -> dict[str, int]:  # fmt: skip
    """Return the capital of an account's books that live by a share; `found` are the capitals of the others."""
    mine = {name: one for name, one in money.items() if name.endswith(f"@{account}")}
    fixed = {name for name in (*mine, *found) if name.endswith(f"@{account}") and name not in wanted}
    others = 0
    for name in fixed:
        if heir_of(name) not in wanted:  # what runs off is part of its heir's share
            now = mine.get(name, Money(0, 0))
            others += now.equity_paise + found.get(name, now.capital_paise) - now.capital_paise
    capitals = {}
    for name, worth in shared_out(account_equity(settings.portfolio, mine.values()), others, wanted).items():
        now = mine.get(name, Money(0, 0))
        running_off = sum(one.equity_paise for book, one in mine.items() if heir_of(book) == name)
        capitals[name] = max(0, worth - (now.equity_paise - now.capital_paise) - running_off)
    return capitals


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
