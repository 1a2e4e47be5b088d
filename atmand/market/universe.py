"""What the names and selectors of a universe mean on a day: always rows of the day's catalogue, never built names.

The daemon asks as a session opens; `atmand universe` asks ahead of it. Also when a contract rolls, and which strikes of
a chain a session holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atmand.market.catalogue import Catalogue, nearest_strikes
from atmand.market.instruments import Instrument, InstrumentError
from atmand.market.reference import Reference
from atmand.market.selectors import Contract, IndexMembers, MostTraded, Selector, selector_of
from atmand.market.sessions import SessionError, windows

__all__ = ["ChainNeed", "Listing", "Roll", "chain_of", "choose", "expiry_words", "price_of", "rolls", "session_before"]

_PLACES: Final = {"near": 0, "next": 1, "far": 2, "weekly": 0, "nearest": 0, "monthly": 0}
_SEGMENTS: Final = {0: "FUT", 1: "OPT", -1: "OPT"}
_RIGHTS: Final = {0: "FUT", 1: "CE", -1: "PE"}


@dataclass(frozen=True)
class Listing:
    """What universes are resolved in: the day's catalogue, filled from the reference, and the rules of the roll."""

    catalogue: Catalogue
    day: date
    reference: Reference = field(default_factory=Reference)
    roll_sessions: int = 0
    """So many sessions before its expiry day a contract is no longer near; 0: it is until the close of that day."""
    chain_strikes: int = 40
    """Strikes on each side of the money that a session holds of a chain."""
    ended: tuple[Instrument, ...] = ()
    """Contracts in use that ended before the day, while nobody watched: they are not listed any more."""


class Roll(NamedTuple):
    """A selector's change of contract; `day` is the first session of the new one, `to` empty where none is listed."""

    selector: str
    was: str
    to: str
    day: date


class ChainNeed(NamedTuple):
    """What legs may choose from a chain, in the words of strategy files."""

    rights: frozenset[int]
    expiries: frozenset[str]
    """`nearest`, `next`, `monthly` or `dte >= 7`."""
    steps: int
    """The most strikes that a leg lies from the money."""
    percent: float
    """The most percent that a leg lies from the money."""


def choose(name: str, listing: Listing) -> list[Instrument]:
    """Return what a name or a selector means; InstrumentError or SelectorError says what is not there, and what is."""
    selector = selector_of(name)
    match selector:
        case None:
            return [listing.catalogue.resolve(name, listing.day)]
        case IndexMembers(index):
            return _members(name, index, listing)
        case MostTraded():
            return _most_traded(name, selector, listing)
        case Contract():
            return [listing.catalogue.instrument(_contract(name, selector, listing, listing.day))]


def rolls(names: Iterable[str], listing: Listing) -> list[Roll]:
    """Return when the contracts of a universe's selectors change next, the soonest first."""
    found = [roll for name in names if (roll := _roll(name, selector_of(name), listing)) is not None]
    return sorted(found, key=lambda roll: (roll.day, roll.selector))


def chain_of(underlying: str, need: ChainNeed, listing: Listing) -> list[Instrument]:
    """Return the contracts of an underlying that a session holds for legs: whole expiries, strikes round the money.

    Expiries before one that is needed are held too: a rule such as `next` counts what is listed. The future of each
    expiry is held where there is one, since deltas are reckoned from it.
    """
    catalogue, day = listing.catalogue, listing.day
    rows = [catalogue.contracts(underlying, _SEGMENTS[right], right, day) for right in sorted(need.rights | {0})]
    if not any(len(of) for right, of in zip(sorted(need.rights | {0}), rows, strict=True) if right in need.rights):
        raise InstrumentError(f"chain of {underlying}", "no contract of it is listed", "choose another underlying")
    wanted = [of for right, of in zip(sorted(need.rights | {0}), rows, strict=True) if right in need.rights]
    last = max(_last_expiry(catalogue.rows["expiry"][of], need.expiries, day) for of in wanted if len(of))
    price = price_of(underlying, listing)
    chosen: list[NDArray[np.intp]] = []
    for of in rows:
        alive = of[catalogue.rows["expiry"][of] <= last]
        for expiry in np.unique(catalogue.rows["expiry"][alive]):
            chosen.append(_band(catalogue, alive[catalogue.rows["expiry"][alive] == expiry], price, need, listing))
    return catalogue.instruments(np.concatenate(chosen) if chosen else [])


def price_of(key: str, listing: Listing) -> int:
    """Return an instrument's price as the day began, in its units; InstrumentError where it is not known."""
    row = listing.catalogue.row_of_key(key)
    if row < 0:
        raise InstrumentError(f"underlying {key}", "not in the dump", "choose another underlying")
    price = int(listing.catalogue.rows["last_price"][row])
    if price <= 0:
        raise InstrumentError(f"price of {key}", "not known, so that no strike is at the money", "name a strike")
    return price


def session_before(day: date, sessions: int) -> date:
    """Return the day so many sessions earlier; where the calendar ends, every weekday is taken for one."""
    while sessions > 0:
        day -= timedelta(days=1)
        sessions -= _trades(day)
    return day


def expiry_words(days: Sequence[date], today: date) -> Iterator[tuple[str, date]]:
    """Yield the words of strategy files and the expiry that each means, of those that are listed."""
    alive = sorted({day for day in days if day >= today})
    if alive:
        yield "nearest", alive[0]
    if len(alive) > 1:
        yield "next", alive[1]
    if monthly := [day for day in alive if _ends_month(day, alive)]:
        yield "monthly", monthly[0]


def _members(name: str, index: str, listing: Listing) -> list[Instrument]:
    """Return an index's members that the dump lists; one that it lacks has left it since the list was written."""
    found = []
    for symbol in listing.reference.members_of(index, listing.day):
        row = listing.catalogue.row_of_name(symbol)
        if row >= 0:
            found.append(listing.catalogue.instrument(row))
    if not found:
        raise InstrumentError(f"universe {name!r}", "the dump lists none of its members", "check the list of members")
    return found


def _most_traded(name: str, selector: MostTraded, listing: Listing) -> list[Instrument]:
    """Return the shares that traded for most, the largest first, of two the one that sorts first."""
    traded = listing.reference.values_on(listing.day)
    if selector.index:
        names = [f"{one.exchange}:{one.symbol}" for one in _members(name, selector.index, listing)]
    else:
        names = [share for share in traded.values if share.startswith(f"{selector.exchange}:")]
    catalogue = listing.catalogue
    known = [share for share in names if traded.values.get(share, 0) > 0 and catalogue.row_of_name(share) >= 0]
    if len(known) < selector.count:
        what = f"{traded.source} and the dump have {len(known)} such shares, not {selector.count}"
        raise InstrumentError(f"universe {name!r}", what, "ask for fewer")
    largest = sorted(known, key=lambda share: (-traded.values[share], share))[: selector.count]
    return [catalogue.instrument(catalogue.row_of_name(share)) for share in largest]


def _contract(name: str, selector: Contract, listing: Listing, day: date) -> int:
    """Return the row of the contract that a selector means on a day; InstrumentError says what is listed instead."""
    catalogue = listing.catalogue
    of = catalogue.rows
    listed = np.flatnonzero((of["exchange"] == selector.exchange.encode()) & (of["name"] == selector.name.encode()))
    listed = listed[(of["right"][listed] == selector.right) & of["tradable"][listed]]
    listed = listed[of["segment"][listed] == _SEGMENTS[selector.right].encode()]
    if not len(listed):
        what = f"no {_RIGHTS[selector.right]} of {selector.name} is listed on {selector.exchange}"
        near = catalogue.nearest_underlying(selector.exchange, selector.name)
        raise InstrumentError(f"universe {name!r}", what, f"did you mean {near}?" if near else "fetch the dump again")
    rows = listed[of["expiry"][listed] == _expiry(name, selector, np.unique(of["expiry"][listed]), listing, day)]
    if selector.right == 0:
        return int(rows[0])
    rows = rows[np.argsort(of["strike"][rows], kind="stable")]
    strikes, scale = of["strike"][rows], int(of["price_scale"][rows[0]])
    if selector.strike:
        wanted = round(float(selector.strike) * scale)
        if wanted not in strikes:
            what = f"no strike {selector.strike} on {date.fromordinal(int(of['expiry'][rows[0]]))}"
            raise InstrumentError(f"universe {name!r}", what, nearest_strikes(strikes, wanted, scale))
        return int(rows[int(np.searchsorted(strikes, wanted))])
    at = _at_the_money(strikes, price_of(of["underlying"][rows[0]].decode(), listing)) + selector.steps
    if not 0 <= at < len(rows):
        what = f"the list ends before {selector.steps:+d} strikes from the money"
        remedy = f"strikes run from {strikes[0] / scale:g} to {strikes[-1] / scale:g}"
        raise InstrumentError(f"universe {name!r}", what, remedy)
    return int(rows[at])


def _expiry(name: str, selector: Contract, listed: NDArray[np.int32], listing: Listing, day: date) -> int:
    """Return the expiry that a selector means on a day, of those that are listed."""
    days = [date.fromordinal(int(each)) for each in listed]
    alive = [each for each in days if each >= day]
    shown = ", ".join(map(str, alive[:4])) or "none any more"
    where = f"universe {name!r}"
    if isinstance(selector.expiry, date):
        if selector.expiry in alive:
            return selector.expiry.toordinal()
        what = "has expired" if selector.expiry < day else f"no contract expires on {selector.expiry}"
        raise InstrumentError(where, what, f"listed are {shown}")
    usable = [each for each in alive if session_before(each, listing.roll_sessions) >= day]
    if selector.right != 0 and selector.expiry == "monthly":
        usable = [each for each in usable if _ends_month(each, alive)]
    if selector.expiry == "weekly" and all(_ends_month(each, alive) for each in alive):
        raise InstrumentError(where, f"{selector.name} has no weekly contracts", f"write monthly; listed are {shown}")
    place = 1 if selector.expiry == "next" else _PLACES[selector.expiry]
    if place >= len(usable):
        raise InstrumentError(where, f"no {selector.expiry} contract is listed", f"listed are {shown}")
    return usable[place].toordinal()


def _roll(name: str, selector: Selector | None, listing: Listing) -> Roll | None:
    """Return a selector's next change of contract; None for what does not roll."""
    if not isinstance(selector, Contract) or isinstance(selector.expiry, date):
        return None
    catalogue = listing.catalogue
    now = catalogue.instrument(_contract(name, selector, listing, listing.day))
    of = catalogue.rows
    same = (of["underlying"] == now.underlying.encode()) & (of["segment"] == now.segment.encode())
    listed = np.unique(of["expiry"][same & (of["expiry"] >= listing.day.toordinal())])
    days = [date.fromordinal(int(each)) for each in listed]
    first = next(each for each in days if session_before(each, listing.roll_sessions) >= listing.day)
    if selector.expiry == "monthly" and now.expiry is not None:
        first = now.expiry
    day = _session_after(session_before(first, listing.roll_sessions))
    try:
        to = catalogue.instrument(_contract(name, selector, listing, day)).key
    except InstrumentError:
        to = ""
    return Roll(name, now.key, to, day)


def _band(
    catalogue: Catalogue, rows: NDArray[np.intp], price: int, need: ChainNeed, listing: Listing
) -> NDArray[np.intp]:
    """Return the rows of one expiry and right whose strikes a session holds."""
    strikes = catalogue.rows["strike"][rows]
    if not strikes.any():
        return rows  # futures
    centre, reach = _at_the_money(strikes, price), listing.chain_strikes + need.steps
    low, high = max(0, centre - reach), min(len(rows), centre + reach + 1)
    if need.percent:
        away = price * (need.percent + listing.chain_strikes / 10) / 100
        low = min(low, int(np.searchsorted(strikes, price - away)))
        high = max(high, int(np.searchsorted(strikes, price + away, "right")))
    return rows[low:high]


def _at_the_money(strikes: NDArray[np.int64], price: int) -> int:
    """Return the place of the strike nearest to a price, of two the lower; strikes ascend."""
    return int(np.argmin(np.abs(strikes - price)))


def _last_expiry(expiries: NDArray[np.int32], rules: Iterable[str], day: date) -> int:
    """Return the latest expiry that any rule means, of those that are listed."""
    days = [date.fromordinal(int(each)) for each in np.unique(expiries)]
    words = dict(expiry_words(days, day))
    found = [days[0]]
    for rule in rules:
        if rule in words:
            found.append(words[rule])
        elif rule.startswith("dte"):
            least = int(rule.rpartition(">=")[2])
            found += [each for each in days if (each - day).days >= least][:1]
    return max(found).toordinal()


def _ends_month(day: date, days: Sequence[date]) -> bool:
    """Say whether no later one of the same month is listed."""
    return not any(other > day and (other.year, other.month) == (day.year, day.month) for other in days)


def _session_after(day: date) -> date:
    day += timedelta(days=1)
    while not _trades(day):
        day += timedelta(days=1)
    return day


def _trades(day: date) -> bool:
    try:
        return bool(windows(day))
    except SessionError:
        return day.weekday() < 5
