"""What is in force: settings, strategies, universe and program, and how SIGHUP or a new document changes them.

A change is checked whole before any of it is applied; what is refused leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
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
from atmand.opening import Universe, deployments_of, limits_of, universe_of
from atmand.params.document import DocumentError
from atmand.params.keeper import Keeper, Origin
from atmand.params.resolve import Resolution
from atmand.settings import Change, Settings, changes
from atmand.trading import Trading

__all__ = ["InForce", "Reloaded"]

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
        self._trading, self._clock = trading, clock
        self._simulated, self._bar_path = simulated, bar_path
        # A session's seed does not follow a reload: it waits for the next start.
        self.seed = settings.simulator.seed

    def start(self) -> None:
        """Choose the parameters to start with, before a session is opened or goes on."""
        self._trading.reload(self.settings, self.keeper.start(self.deployments, limits_of(self.settings)))

    def open(self, day: date, now_ns: int) -> None:
        """Open a day's session."""
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
            universe = universe_of(deployments, self.universe.dump.decode(), lenient=self._bar_path)
            manifest = generate(deployments).manifest
            parameters = await self._parameters(new, deployments)
            program = self.program
            if _shape(manifest) != _shape(program.manifest) or universe.pairs != self.universe.pairs:
                program = await self._swap(new, deployments, universe, parameters)
            self.settings, self.deployments, self.program = new, deployments, program
            logs.set_level(new.log.level)
            self.apply(parameters)
            log.info("reloaded", strategies=len(deployments))
            return found

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

    async def _swap(
        self, new: Settings, deployments: list[Deployment], universe: Universe, parameters: Resolution
    ) -> Program:
        """Compile changed structures in a child and put them in force, if the session has their instruments."""
        if [i.key for i, _ in universe.instruments] != [i.key for i, _ in self.universe.instruments]:
            raise AtmandError(str(new.path), "other instruments", "the next start takes them up; nothing changed")
        program = await compiled(deployments)
        before = self._trading.parameters
        self._trading.reload(new, parameters)
        try:
            self._trading.swap_program(universe, program, self.now_ns)
        except AtmandError:
            self._trading.reload(self.settings, before)
            raise
        self.universe = universe
        return program


def _shape(manifest: Manifest) -> Manifest:
    """Return a manifest without what a PARAMS record swaps: two of one shape need no new program."""
    books = tuple(replace(plan, values=(), warm_bars=0, history_bars=0, sha256="") for plan in manifest.books)
    return replace(manifest, books=books)


def _pairs_by_name(before: Sequence[Deployment], after: Sequence[Deployment]) -> list[tuple[Deployment, Deployment]]:
    known = {deployment.book: deployment for deployment in before}
    return [(known[deployment.book], deployment) for deployment in after if deployment.book in known]
