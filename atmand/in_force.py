"""What is in force: settings, strategies, universe and program, and how SIGHUP or a new document changes them.

A change is checked whole before any of it is applied; what is refused leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import structlog

from atmand import logs
from atmand.clocks import MarketClock
from atmand.compiling import compiled
from atmand.core.manifest import Manifest, Program
from atmand.errors import AtmandError
from atmand.journal.retention import prune
from atmand.lang.program import Deployment, generate
from atmand.lang.structure import compile_structure
from atmand.market.universe import Listing
from atmand.opening import deployments_of, limits_of
from atmand.params.document import DocumentError
from atmand.params.keeper import Keeper, Origin
from atmand.params.resolve import Resolution
from atmand.settings import Change, Settings, changes
from atmand.strategy_life import RunOff, finished, keep_deployed, last_deployed, open_places, run_offs
from atmand.trading import Trading
from atmand.universe import Universe, universe_of

__all__ = ["InForce", "Reloaded", "with_what_is_open"]

log = structlog.get_logger()


@dataclass(frozen=True)
class Reloaded:
    """What a reload found to differ: settings, and strategies whose files have another text."""

    changes: list[Change]
    strategies: list[str]


class InForce:
    """One daemon's configuration and program as they hold now; the market side renews `universe` each day."""

    def __init__(
        self,
        settings: Settings,
        deployments: list[Deployment],
        listing: Listing,
        universe: Universe,
        program: Program,
        trading: Trading,
        clock: MarketClock,
        keeper: Keeper,
        *,
        simulated: bool,
        bar_path: bool,
    ) -> None:
        self.keeper = keeper
        self._changing = asyncio.Lock()
        self.settings, self.deployments, self.universe, self.program = settings, deployments, universe, program
        self.listing = listing
        self._trading, self._clock = trading, clock
        self._simulated, self._bar_path = simulated, bar_path
        self._warned: set[str] = set()
        self._unweighted: set[str] = set()
        # A session's seed does not follow a reload: it waits for the next start.
        self.seed = settings.simulator.seed
        self._stays = False
        self.on_instruments: Callable[[], None] = lambda: None
        """Called when the session's instruments are others than before."""

    def resolved(self, deployments: Sequence[Deployment], listing: Listing, settings: Settings) -> Universe:
        """Return the universe of some strategies in a day's listing, with what is held now and what is recorded."""
        return universe_of(
            deployments,
            listing,
            lenient=self._bar_path,
            held=open_places(self._trading.books()),
            record=settings.record,
            newest=self._trading.newest_names(listing.day),
        )

    def renew(self, listing: Listing) -> None:
        """Take a new day's listing up, before its session is opened."""
        self.universe = self.resolved(self.deployments, listing, self.settings)
        self.listing = listing

    def start(self) -> None:
        """Choose the parameters to start with, before a session is opened or goes on."""
        self._warn()
        parameters = self.keeper.start(self.deployments, limits_of(self.settings))
        self._trading.reload(self.settings, parameters)
        self._tell_unweighted(parameters)

    def open(self, day: date, now_ns: int) -> None:
        """Open a day's session."""
        self._keep(self.deployments, self._trading.parameters)
        self._trading.open_session(
            day,
            self.universe,
            self.program,
            now_ns,
            simulated=self._simulated,
            bar_path=self._bar_path,
            seed=self.seed,
        )
        self._trading.snapshot()

    def roll(self, day: date, now_ns: int) -> None:
        """Keep the books, close the day's segment, and open the next session; old frames are pruned in a thread."""
        self._trading.snapshot()
        rotated = self._trading.writer.rotate()
        rotated.add_done_callback(lambda _: prune(self._trading.journal, self.settings.journal))
        self.open(day, now_ns)

    async def reload(self) -> Reloaded:
        """Read configuration and strategy files again and put what may change in force, or raise and change nothing."""
        async with self._changing:
            new = self.settings.reload()
            deployments = deployments_of(new)
            found = Reloaded(changes(self.settings, new), [])
            for change in found.changes:
                log.info("setting_changed", path=change.path, old=change.old, new=change.new, live=change.live)
            for before, after in _pairs_by_name(self.deployments, deployments):
                if before.file.sha256 != after.file.sha256:
                    log.info("strategy_changed", strategy=after.book)
                    found.strategies.append(after.book)
            await self._renew(new, deployments)
            self._stays = False
            self._warn()
            logs.set_level(new.log.level)
            log.info("reloaded", strategies=len(deployments))
            return found

    def _warn(self) -> None:
        """Say once what the checks of the strategies found that is hardly meant."""
        for deployment in self.deployments:
            for text in compile_structure(deployment.file).warnings:
                if text not in self._warned:
                    self._warned.add(text)
                    log.warning("strategy_warning", strategy=deployment.book, warning=text)

    async def retire(self) -> None:
        """Take the run-off books out that have nothing left to do."""
        if self._stays or self._changing.locked() or not self._done():
            return
        async with self._changing:
            if not (done := self._done()):
                return
            try:
                await self._renew(self.settings, [one for one in self.deployments if not one.origin])
            except AtmandError as error:
                self._stays = True
                log.error("run_off_stays", error=str(error))
                return
            for one in done:
                log.info("run_off_ended", strategy=one.book)

    def _done(self) -> list[Deployment]:
        return finished(self.deployments, self._trading.busy_books())

    async def _renew(self, new: Settings, wanted: list[Deployment]) -> None:
        """Put settings and strategies in force. What is opened while a program is compiled is looked at again."""
        while True:
            leaving = self._leaving(new, wanted)
            deployments = [*wanted, *(one.deployment for one in leaving)]
            universe = self.resolved(deployments, self.listing, new)
            generated = generate(deployments)
            parameters = await self._parameters(new, deployments)
            is_new = _shape(generated.manifest) != _shape(self.program.manifest)
            swaps = is_new or universe.pairs != self.universe.pairs or _keys(universe) != _keys(self.universe)
            program = self.program
            if swaps:
                program = await compiled(deployments) if is_new else replace(program, manifest=generated.manifest)
                await asyncio.to_thread(self._trading.prepare_swap, universe, program)
            if self._leaving(new, wanted) == leaving:
                break
        if swaps:
            self._swap(new, deployments, universe, parameters, program)
        self.settings, self.deployments, self.program = new, deployments, program
        self.apply(parameters)
        self._tell(new, leaving)

    def _leaving(self, new: Settings, wanted: Sequence[Deployment]) -> list[RunOff]:
        """Return what runs off when `wanted` is put in force. It keeps the values that hold now, whoever set them."""
        held = {book.name: book.values for book in self._trading.parameters.books}
        before = [replace(one, values=held.get(one.book, one.values)) for one in self.deployments]
        return run_offs(before, wanted, open_places(self._trading.books()), _on_change(new, self.settings))

    def _tell(self, new: Settings, leaving: Sequence[RunOff]) -> None:
        """Say what runs off, and exit at once what the operator wants flat."""
        wishes = _on_change(new, self.settings)
        for one in leaving:
            if one.why == "goes on":
                continue
            book, flatten = one.deployment, wishes.get(one.deployment.origin) == "flatten"
            log.info("run_off_begun", strategy=book.book, origin=book.origin, reason=one.why, flatten=flatten)
            if flatten:
                self._trading.flatten({f"{book.book}@{book.account}"}, self.now_ns)

    async def follow(self) -> None:
        """Take the store's document up where it changed; a refused one changes nothing, and its author is told."""
        self.keeper.tick()
        if not self.keeper.is_changed():
            return
        async with self._changing:
            with contextlib.suppress(DocumentError):
                self.apply(await asyncio.to_thread(self.keeper.read, self.deployments, limits_of(self.settings)))

    def apply(self, parameters: Resolution) -> None:
        """Put limits and parameter values in force between two records."""
        origin: Origin | None = "current" if parameters.sha256 != self.keeper.in_force.sha256 else None
        self._trading.reload(self.settings, parameters)
        self._trading.put_limits(self.now_ns)
        sequence = self._trading.put_params(self.now_ns)
        self.keeper.applied(parameters, sequence, origin=origin)
        self._tell_unweighted(parameters)

    def _tell_unweighted(self, parameters: Resolution) -> None:
        """Say once of a strategy that it waits for a document's weight, and has an equal part of what is left."""
        now = {book.name for book in parameters.books if book.weight is None}
        for name in sorted(now - self._unweighted):
            log.warning("strategy_without_weight", strategy=name)
        self._unweighted = now

    def shown_params(self) -> dict[str, Any]:
        """Return the parameters in force with where each is from, for people."""
        held, refused = self.keeper.in_force, self.keeper.refused
        document = held.document
        declared = {deployment.book: deployment.file.strategy.params for deployment in self.deployments}
        return {
            "seq": held.seq,
            "sha256": held.sha256,
            "source": self.keeper.origin,
            "refused": None if refused is None else {"seq": refused.seq, "reason": refused.reason},
            "author": None if document is None else document.author or document.trial,
            "created": None if document is None or document.created is None else document.created.isoformat(),
            "strategies": [
                {
                    "name": book.name,
                    "weight": book.weight,
                    "params": [
                        {
                            "name": name,
                            "value": value,
                            "default": declared[book.name][name].default,
                            "low": declared[book.name][name].range[0],
                            "high": declared[book.name][name].range[1],
                            "unit": declared[book.name][name].unit or None,
                            "from": book.origin[name],
                        }
                        for name, value in book.values.items()
                    ],
                }
                for book in held.books
            ],
        }

    @property
    def now_ns(self) -> int:
        """Market time, never before the newest record."""
        return max(self._clock.now_ns(), self._trading.last_ns)

    async def _parameters(self, new: Settings, deployments: Sequence[Deployment]) -> Resolution:
        """Read the store again; where its document is refused, the one in force is held against the new files."""
        try:
            return await asyncio.to_thread(self.keeper.read, deployments, limits_of(new))
        except DocumentError:
            return self.keeper.keep(deployments, limits_of(new))

    def _swap(
        self,
        new: Settings,
        deployments: list[Deployment],
        universe: Universe,
        parameters: Resolution,
        program: Program,
    ) -> None:
        """Put a program in force inside the session; instruments that it brings along are subscribed and filled."""
        before = self._trading.parameters
        self._trading.reload(new, parameters)
        self._keep(deployments, parameters)
        try:
            self._trading.swap_program(universe, program, self.now_ns)
        except AtmandError:
            self._trading.reload(self.settings, before)
            self._keep(self.deployments, before)
            raise
        came = _keys(universe) != _keys(self.universe)
        self.universe = universe
        if came:
            self.on_instruments()

    def _keep(self, deployments: Sequence[Deployment], parameters: Resolution) -> None:
        keep_deployed(self.settings.instance.state, deployments, {book.name: book.values for book in parameters.books})


def with_what_is_open(settings: Settings, trading: Trading, wanted: list[Deployment]) -> list[Deployment]:
    """Return the deployments to start with: what is configured, and what ran last where its positions need it."""
    held = open_places(trading.books())
    before = last_deployed(settings.instance.state, held)
    return [*wanted, *(one.deployment for one in run_offs(before, wanted, held, _on_change(settings)))]


def _on_change(new: Settings, before: Settings | None = None) -> dict[str, str]:
    """Return by strategy what happens to its positions; the old settings speak for one that is gone."""
    wishes: dict[str, str] = {}
    for settings in (before, new):
        if settings is not None:
            wishes |= {name: one.on_change for name, one in settings.strategies.items()}
    return wishes


def _keys(universe: Universe) -> list[str]:
    return [instrument.key for instrument, _ in universe.instruments]


def _shape(manifest: Manifest) -> Manifest:
    """Return a manifest without what a PARAMS record swaps: two of one shape need no new program."""
    books = tuple(
        replace(plan, values=(), warm_bars=0, history_bars=0, stream_bars=(), sha256="") for plan in manifest.books
    )
    return replace(manifest, books=books)


def _pairs_by_name(before: Sequence[Deployment], after: Sequence[Deployment]) -> list[tuple[Deployment, Deployment]]:
    known = {deployment.book: deployment for deployment in before}
    return [(known[deployment.book], deployment) for deployment in after if deployment.book in known]
