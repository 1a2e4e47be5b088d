"""The universe of a session: what the strategies' names and selectors mean in the day's listing, as the core sees it.

Resolved as a session opens and on a reload; `subscription.py` says which of it the feed is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

import structlog

from atmand.errors import AtmandError
from atmand.history.recording import recorded
from atmand.history.settings import RecordSettings
from atmand.lang.legs import chain_need
from atmand.lang.program import Deployment
from atmand.lang.strategy import refuse_repeated
from atmand.lang.structure import instruments_named
from atmand.market.instruments import Instrument, InstrumentError, session_group
from atmand.market.products import product_refusal
from atmand.market.selectors import selector_of
from atmand.market.universe import ChainNeed, Listing, Roll, chain_of, choose, price_of, rolls

__all__ = ["Chain", "Universe", "chosen_by_rule", "tell_rolls", "universe_of"]

log = structlog.get_logger()

_SOON_DAYS: Final = 4
"""A roll is told so many calendar days before: over a weekend too, on the last session before it."""


class Chain(NamedTuple):
    """The contracts on one underlying that legs may choose from; places are those of the universe's instruments."""

    underlying: int
    price: int
    """The underlying's as the day began."""
    need: ChainNeed
    places: tuple[int, ...]


@dataclass(frozen=True)
class Universe:
    """The session's instruments with their group of windows, and the (book, instrument) pairs that trade them."""

    instruments: tuple[tuple[Instrument, int], ...]
    pairs: tuple[tuple[int, int], ...]
    dump: bytes
    """The sha256 of the dump that they come from."""
    chains: tuple[Chain, ...] = ()
    """The contracts that legs choose from: listed in the session, and subscribed only round the money."""
    rolls: tuple[tuple[str, Roll], ...] = ()
    """By strategy: when its selectors change their contracts."""

    @property
    def tokens(self) -> list[int]:
        """Feed tokens; a contract that has ended has none any more."""
        return [instrument.token for instrument, _ in self.instruments if instrument.token > 0]

    @property
    def bar_tokens(self) -> list[int]:
        """Tokens of what bars are made of for decisions: all but the contracts that only legs reach."""
        apart = {place for chain in self.chains for place in chain.places} - {place for _, place in self.pairs}
        return [one.token for place, (one, _) in enumerate(self.instruments) if place not in apart and one.token > 0]


def universe_of(
    deployments: Sequence[Deployment],
    listing: Listing,
    *,
    lenient: bool,
    held: Collection[tuple[str, str]] = (),
    record: RecordSettings | None = None,
    newest: Mapping[str, str] | None = None,
) -> Universe:
    """Resolve the strategies' universes, and what is to be recorded, through the day's listing, in the order of tokens.

    `lenient` leaves out what a market drawn from a bar file does not have, as long as something is left. What a book
    holds (`strategy@account`, key) stays its own as long as it is listed, also where its selector has rolled on.
    `newest` says what instruments are called now that a strategy's file names by a former symbol.
    """
    wanted = [_traded(deployment, listing, newest or {}, lenient=lenient) for deployment in deployments]
    taken = {(f"{one.origin}@{one.account}", key) for one in deployments if one.origin for key in one.universe}
    left = set(held) - taken
    stays = [_still_held(one, found, listing, left) for one, found in zip(deployments, wanted, strict=True)]
    needs = _needs(deployments, wanted)
    chains = {key: chain_of(key, need, listing) for key, need in needs.items()}
    known = [*wanted, *stays, *chains.values(), *(_watched(deployment, listing) for deployment in deployments)]
    if record is not None:
        known.append(recorded(record.universe, listing, expiries=record.expiries, most=record.most))
    known.append(_underlying_instruments([one for found in wanted for one in found], listing))
    chosen = sorted({i.key: i for instruments in known for i in instruments}.values(), key=lambda i: i.token)
    places = {instrument.key: index for index, instrument in enumerate(chosen)}
    derivatives = listing.catalogue.names_with_derivatives()
    pairs = []
    for book, (deployment, found) in enumerate(zip(deployments, wanted, strict=True)):
        mine = found if deployment.file.strategy.legs else [*found, *stays[book]]
        pairs += [(book, places[key]) for key in dict.fromkeys(instrument.key for instrument in mine)]
    return Universe(
        tuple((instrument, session_group(instrument, derivatives)) for instrument in chosen),
        tuple(pairs),
        listing.catalogue.sha256,
        tuple(
            Chain(
                places[key], price_of(key, listing), needs[key], tuple(sorted({places[one.key] for one in contracts}))
            )
            for key, contracts in chains.items()
        ),
        tuple((one.book, roll) for one in deployments for roll in rolls(_names(one), listing)),
    )


def tell_rolls(universe: Universe, day: date) -> None:
    """Say which contracts give way to the next one within days, so that nobody is surprised."""
    for strategy, roll in universe.rolls:
        if (roll.day - day).days <= _SOON_DAYS:
            log.info(
                "roll_due",
                strategy=strategy,
                selector=roll.selector,
                was=roll.was,
                to=roll.to,
                day=roll.day.isoformat(),
            )


def chosen_by_rule(deployment: Deployment) -> bool:
    """Say whether a strategy's file leaves it to the day which instruments it trades: by selectors, or by legs."""
    strategy = deployment.file.strategy
    rules = bool(strategy.legs) or any(selector_of(name) is not None for name in strategy.universe)
    return rules and not deployment.universe


def _names(deployment: Deployment) -> list[str]:
    return list(deployment.universe or deployment.file.strategy.universe)


def _traded(deployment: Deployment, listing: Listing, newest: Mapping[str, str], *, lenient: bool) -> list[Instrument]:
    """Return what a strategy's universe means today, each instrument once; with legs it is their underlyings.

    Two selectors may mean one instrument; a name that repeats another is a mistake.
    """
    names = [newest.get(name, name) for name in _names(deployment)]
    if lenient and not deployment.universe:
        names = _listed_names(deployment, names, listing)
    ended = {one.key: one for one in listing.ended}
    chosen = [(name, one) for name in names for one in ([ended[name]] if name in ended else choose(name, listing))]
    refuse_repeated(deployment.file, [(name, one.key) for name, one in chosen if selector_of(name) is None])
    found = list({one.key: one for _, one in chosen}.values())
    for instrument in found:
        _check_product(deployment, instrument)
    for instrument in found if deployment.universe or not deployment.file.strategy.legs else ():
        if not instrument.tradable:
            index = instrument.segment == "INDEX"
            remedy = "trade its future or option, such as NFO:NIFTY:FUT:near" if index else "remove it"
            raise AtmandError(f"strategy {deployment.book}", f"{instrument.key} cannot be traded", remedy)
    return found


def _check_product(deployment: Deployment, instrument: Instrument) -> None:
    """Refuse what cannot be held under the strategy's product; of legs it is contracts that are held."""
    strategy = deployment.file.strategy
    is_derivative = bool(strategy.legs) or instrument.segment in ("FUT", "OPT")
    refusal = product_refusal(strategy.trade.product, instrument.key, is_derivative=is_derivative)
    if refusal is not None:
        raise AtmandError(f"strategy {deployment.book}: trade.product", *refusal)


def _still_held(
    deployment: Deployment, found: Sequence[Instrument], listing: Listing, held: Collection[tuple[str, str]]
) -> list[Instrument]:
    """Return what a strategy holds beside what it trades today: a contract that its selector has left, or a leg's.

    One that ended while nobody watched is among them, so that it can be settled.
    """
    if not chosen_by_rule(deployment):
        return []
    mine = {key for book, key in held if book == f"{deployment.book}@{deployment.account}"}
    mine -= {instrument.key for instrument in found}
    rows = (listing.catalogue.row_of_key(key) for key in sorted(mine))
    ended = [one for one in listing.ended if one.key in mine]
    return [*listing.catalogue.instruments(row for row in rows if row >= 0), *ended]


def _needs(deployments: Sequence[Deployment], wanted: Sequence[Sequence[Instrument]]) -> dict[str, ChainNeed]:
    """Return by underlying what the legs of all strategies on it may choose from."""
    needs: dict[str, ChainNeed] = {}
    for deployment, found in zip(deployments, wanted, strict=True):
        legs = () if deployment.universe else deployment.file.strategy.legs
        for underlying in found if legs else ():
            need = chain_need(legs)
            before = needs.get(underlying.key, need)
            needs[underlying.key] = ChainNeed(
                before.rights | need.rights,
                before.expiries | need.expiries,
                max(before.steps, need.steps),
                max(before.percent, need.percent),
            )
    return needs


def _watched(deployment: Deployment, listing: Listing) -> list[Instrument]:
    """Return the instruments that a strategy's expressions name: their bars are made, and they are not traded."""
    return [listing.catalogue.resolve(name, listing.day) for name in instruments_named(deployment.file)]


def _underlying_instruments(traded: Sequence[Instrument], listing: Listing) -> list[Instrument]:
    """Return what traded contracts are on, where the dump lists it: limits of an underlying need its row."""
    rows = (listing.catalogue.row_of_key(one.underlying) for one in traded if one.underlying)
    return listing.catalogue.instruments(row for row in dict.fromkeys(rows) if row >= 0)


def _listed_names(deployment: Deployment, names: list[str], listing: Listing) -> list[str]:
    catalogue = listing.catalogue
    kept = [
        name
        for name in names
        if selector_of(name) is not None or catalogue.row_of_key(name) >= 0 or catalogue.row_of_name(name) >= 0
    ]
    if not kept:
        known = sorted(f"{exchange.decode()}:{symbol.decode()}" for exchange, symbol in
                       zip(catalogue.rows["exchange"], catalogue.rows["symbol"], strict=True))  # fmt: skip
        raise InstrumentError(
            f"strategy {deployment.book}",
            "the market has none of its instruments",
            f"it has {', '.join(known[:9])}",
        )
    if len(kept) < len(names):
        log.info("universe_reduced", strategy=deployment.book, instruments=len(kept), missing=len(names) - len(kept))
    return kept
