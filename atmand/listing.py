"""The day's listing: the broker's dump accepted or refused, kept, filled from our tables and the operator's files.

The daemon asks as it starts and as each session opens; the verbs read what it kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Final

import structlog

from atmand.errors import AtmandError
from atmand.feed.kite_rest import KiteRest
from atmand.instrument_store import FOLDER, InstrumentStore, check_complete, difference
from atmand.market.catalogue import Catalogue
from atmand.market.instruments import InstrumentError
from atmand.market.kite_dump import parse_kite_dump
from atmand.market.reference import Reference, own_reference, read_freeze, read_members, read_shares, with_shares
from atmand.market.reference import with_reference as filled
from atmand.market.settings import InstrumentSettings
from atmand.market.universe import Listing
from atmand.settings import Settings

__all__ = ["ListingKeeper", "kept_listing", "reference_of"]

log = structlog.get_logger()

_NAMED: Final = 10
"""An event names at most so many instruments."""


class ListingKeeper:
    """One daemon's instruments: a file a day in its state directory."""

    def __init__(self, settings: Settings, *, simulated: bool) -> None:
        self._settings, self._simulated = settings.instruments, simulated
        self._store = InstrumentStore(settings.instance.state / FOLDER)

    async def fetch(self, rest: KiteRest, day: date, in_use: Collection[str] = ()) -> Listing:
        """Fetch a day's dump and return the listing to trade by. `in_use` are keys of what is held or watched.

        A dump that is refused leaves the newest that was kept in force; InstrumentError where there is none. The prices
        that strikes are chosen by are asked for once a day, so that a restart finds the same contracts.
        """
        text = await rest.instruments()
        catalogue, accepted = await asyncio.to_thread(self.accept, text, day, in_use)
        names = _unpriced(catalogue)
        if names:
            try:
                catalogue = with_prices(catalogue, await rest.last_prices(names))
            except AtmandError as error:
                log.warning("underlying_prices_failed", error=str(error))
        listing = await asyncio.to_thread(self._kept if accepted else self._listing, catalogue, day)
        gone = [key for key in in_use if catalogue.row_of_key(key) < 0]
        ended = await asyncio.to_thread(self._store.ended, gone, day) if gone else ()
        return replace(listing, ended=tuple(ended))

    def accept(self, text: str, day: date, in_use: Collection[str] = ()) -> tuple[Catalogue, bool]:
        """Return what a day's dump holds; where it is refused what was kept last, and False.

        Prices of underlyings are those of this very day's file, which yesterday's say nothing about.
        """
        kept = self._store.newest(day)
        try:
            found = parse_kite_dump(text)
            if not len(found):
                raise InstrumentError("instrument dump", "lists nothing", "fetch /instruments again")
            if kept is not None and not self._simulated:
                check_complete(kept[1], found, day, most_lost_percent=self._settings.most_lost_percent)
        except InstrumentError as error:
            if kept is None:
                raise
            log.error("instruments_refused", day=day.isoformat(), error=str(error), in_force=kept[0].isoformat())
            return (kept[1] if kept[0] == day else _without_prices(kept[1])), False
        if kept is not None:
            _tell_changes(kept[1], found, day, in_use)
        if kept is not None and kept[0] == day:
            return _prices_of(kept[1], found), True
        return _without_prices(found), True

    def _kept(self, catalogue: Catalogue, day: date) -> Listing:
        """Write the day's file and return the listing."""
        try:
            self._store.save(day, catalogue, keep=self._settings.keep_days)
        except OSError as error:
            log.error("instruments_not_kept", error=error.strerror or str(error))
        return self._listing(catalogue, day)

    def _listing(self, catalogue: Catalogue, day: date) -> Listing:
        return listing_of(catalogue, day, self._settings, simulated=self._simulated)


def listing_of(catalogue: Catalogue, day: date, settings: InstrumentSettings, *, simulated: bool) -> Listing:
    """Fill a day's catalogue from our tables and the operator's files."""
    reference = reference_of(settings, day, simulated=simulated)
    if day > reference.freeze_through and not simulated:
        log.warning("freeze_outdated", day=day.isoformat(), through=reference.freeze_through.isoformat())
    return Listing(filled(catalogue, reference, day), day, reference, settings.roll_sessions, settings.chain_strikes)


def reference_of(settings: InstrumentSettings, day: date, *, simulated: bool) -> Reference:
    """Return our tables, each replaced by the operator's file where one is named."""
    reference = own_reference(day, simulated=simulated)
    if settings.freeze is not None:
        rows, through = read_freeze(_text(settings.freeze), str(settings.freeze))
        reference = replace(reference, freeze=rows, freeze_through=through)
    if settings.members is not None:
        folder = settings.members.parent
        members = read_members(_text(settings.members), str(settings.members), lambda name: _text(folder / name))
        reference = replace(reference, members=members)
    for path in settings.shares:
        reference = with_shares(reference, read_shares(_text(path), str(path)))
    return reference


def kept_listing(settings: Settings, day: date | None = None) -> Listing:
    """Return the listing of a day that the daemon kept, the newest one by default; InstrumentError where none is."""
    folder = settings.instance.state / FOLDER
    store = InstrumentStore(folder)
    days = store.days()
    chosen = days[-1] if day is None and days else day
    if chosen is None or chosen not in days:
        known = ", ".join(map(str, days[-5:])) or "none: the daemon keeps one as it starts"
        raise InstrumentError(str(folder), f"no instruments of {day or 'any day'}", f"kept are {known}")
    simulated = settings.feed.kind == "simulator"
    return listing_of(store.load(chosen), chosen, settings.instruments, simulated=simulated)


def with_prices(catalogue: Catalogue, prices: Mapping[str, float]) -> Catalogue:
    """Return a catalogue with last prices in rupees by `EXCHANGE:SYMBOL`."""
    rows = catalogue.rows.copy()
    for name, price in prices.items():
        row = catalogue.row_of_name(name)
        if row >= 0 and price > 0:
            rows["last_price"][row] = round(price * int(rows["price_scale"][row]))
    return replace(catalogue, rows=rows)


def _unpriced(catalogue: Catalogue) -> list[str]:
    """Name what options are listed on and has no price of today."""
    found = []
    for key in catalogue.underlyings():
        row = catalogue.row_of_key(key)
        if row >= 0 and catalogue.rows["last_price"][row] <= 0:
            found.append(f"{catalogue.rows['exchange'][row].decode()}:{catalogue.rows['symbol'][row].decode()}")
    return found


def _without_prices(catalogue: Catalogue) -> Catalogue:
    """Forget the dump's own last prices of underlyings: it is made in the night, if it has any."""
    rows = catalogue.rows.copy()
    for key in catalogue.underlyings():
        if (row := catalogue.row_of_key(key)) >= 0:
            rows["last_price"][row] = 0
    return replace(catalogue, rows=rows)


def _prices_of(kept: Catalogue, found: Catalogue) -> Catalogue:
    """Return what was found with the prices of underlyings that were kept earlier in the day."""
    rows = found.rows.copy()
    for key in found.underlyings():
        here, there = found.row_of_key(key), kept.row_of_key(key)
        if here >= 0:
            rows["last_price"][here] = kept.rows["last_price"][there] if there >= 0 else 0
    return replace(found, rows=rows)


def _tell_changes(before: Catalogue, after: Catalogue, day: date, in_use: Collection[str]) -> None:
    """Log what differs from the newest that was kept: counts, and the names of what is in use."""
    if before.sha256 == after.sha256:
        return
    found = difference(before, after, day)
    log.info(
        "instruments_refreshed",
        day=day.isoformat(),
        instruments=len(after),
        added=len(found.added),
        removed=len(found.removed),
        expired=found.expired,
        lots=found.count("lot"),
        ticks=found.count("tick"),
        in_use=found.of(in_use)[:_NAMED],
    )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InstrumentError(
            str(path), reason or "cannot be read", "check [instruments] in the configuration"
        ) from None
