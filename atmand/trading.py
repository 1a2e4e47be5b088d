"""The trading side of the daemon: engine, journal and sequencer, and the records of a session's life.

Everything here runs on the loop and returns at once; `daemon.py` owns the tasks, sockets and threads round it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog
from numpy.typing import NDArray

from atmand.console import Narrator
from atmand.core.books import SCHEMA, homeless_positions
from atmand.core.manifest import Program
from atmand.core.opening import (
    Draft,
    instruments_draft,
    limits_draft,
    params_draft,
    program_draft,
    session_draft,
    yyyymmdd,
)
from atmand.core.records import (
    AUDIT,
    COMMAND_HEAD,
    EMPTY,
    FEED_STATE_HEAD,
    GAP_HEAD,
    HISTORY_ROW,
    Command,
    GapReason,
    Kind,
    Source,
    body_of,
)
from atmand.core.rings import history_draft, ring_drafts
from atmand.core.run_off import with_run_off
from atmand.corporate_actions import CorporateActions, Overnight
from atmand.errors import AtmandError
from atmand.feed.protocol import FeedNotice
from atmand.journal import snapshots
from atmand.journal.recovery import Recovered, recover
from atmand.journal.segment import JournalError
from atmand.journal.writer import JournalWriter
from atmand.ledger.fold import Opening
from atmand.ledger.past import Past, PastDay, save_past
from atmand.ledger.writer import LedgerWriter
from atmand.market.sessions import Window
from atmand.opening import book_limits, session_windows, terms_of
from atmand.params.resolve import Resolution
from atmand.past import FoldedPast
from atmand.portfolio import Money, portfolio_limits, with_sectors
from atmand.research.bar_driver import in_sessions
from atmand.sequencer import Sequencer, audit_drafts
from atmand.settings import Settings
from atmand.start import kernel_digest
from atmand.switches import SWITCHES, Switches
from atmand.universe import Universe
from atmand.wiring import JOURNAL, SNAPSHOTS, ProgramStore, engine_on

__all__ = ["Trading"]

log = structlog.get_logger()

_NO_CANDLES: Final = np.zeros(0, HISTORY_ROW)
_MINUTE_NS: Final = 60_000_000_000
_SECOND_NS: Final = 1_000_000_000


class Trading:
    """One state directory's journal and core. Made after the heavy imports; `close` writes everything out."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.parameters = Resolution(())
        state = settings.instance.state
        self._journal = state / JOURNAL
        self._snapshots = state / SNAPSHOTS
        self.writer = JournalWriter(self._journal, settings.journal)
        self.store = ProgramStore(self._journal)
        self.engine = engine_on(self.store)
        self._narrator = Narrator(self.engine)
        self._overnight = CorporateActions(settings.bar_store)
        self.sequencer = Sequencer(self.engine, self.writer, self._hear)
        self.ledger: LedgerWriter | None = None
        self._carried: dict[str, Any] | None = None
        self._universe: Universe | None = None
        self._pairs: tuple[tuple[int, int], ...] = ()
        self._dropped_since_ns = 0
        self._dropped = 0
        self.entries_held = False
        self.switches = Switches(state / SWITCHES)
        self.day: date | None = None
        self.hours: tuple[Window, ...] = ()
        self._last_frame_ns = 0
        self.on_applied: Callable[[float], None] = lambda _: None
        """Hears how many seconds a market record took from journal to audit."""
        self.has_session = False
        """Whether the journal held a session when it was opened."""
        self.on_overload_gap: Callable[[], None] = lambda: None
        """Called when frames that were dropped have left a gap that history can fill."""

    @property
    def last_ns(self) -> int:
        """Core time of the newest record."""
        return self.sequencer.time_ns

    @property
    def last_frame_age_s(self) -> float | None:
        """Machine seconds since market data came last; None before the first."""
        return round((time.perf_counter_ns() - self._last_frame_ns) / 1e9, 3) if self._last_frame_ns else None

    def recover(self) -> Recovered | None:
        """Bring the engine to the journal's head and append what a crash kept from being audited."""
        recovered = recover(self._journal, self._snapshots, self.engine, self._narrator.follow, code=kernel_digest())
        if recovered is None:
            return None
        self.has_session = True
        self._carried = recovered.books
        missing = recovered.missing_audit
        for audit in audit_drafts(missing) if missing is not None and len(missing) else ():
            self.writer.append(audit.kind, self.last_ns, audit.body, audit.rows, version=audit.version)
        return recovered

    def newest_names(self, day: date) -> dict[str, str]:
        """Return by the names of former symbols the keys that they have on a day."""
        return self._overnight.newest_names(day)

    def keep_past(self, past: FoldedPast, universe: Universe, program: Program) -> None:
        """Journal the audit of a simulated past, before the first session, which goes on with its books."""
        days = [PastDay(yyyymmdd(one.day), one.close_ns, one.first_cause) for one in past.sessions]
        keys = tuple(instrument.key for instrument, _ in universe.instruments)
        save_past(self._journal, Past(program.manifest, keys, tuple(days)))
        for session in past.sessions:
            for audit in audit_drafts(session.rows):
                time_ns = int(np.frombuffer(audit.body, AUDIT, 1, EMPTY.itemsize)["time_ns"][0])
                self.writer.append(
                    audit.kind, time_ns, audit.body, audit.rows, version=audit.version, source=Source.PAST
                )
        self._carried = past.books

    def continues(self, day: date, universe: Universe, program: Program, seed: int) -> bool:
        """Say whether the recovered session goes on: the same day, market and program."""
        if not self.engine.ready:
            return False
        header = self.engine.header
        same_day = int(header["date"]) == yyyymmdd(day)
        if not same_day or int(header["seed"]) != seed or self.engine.layout.manifest != program.manifest:
            return False
        return self.engine.layout.keys == tuple(instrument.key for instrument, _ in universe.instruments)

    def resume(self, day: date, universe: Universe, now_ns: int) -> bool:
        """Go on with a recovered session and put the operator's limits in force; say whether data is missing.

        A simulated market waits for its daemon, so nothing was missed where it goes on within a second.
        """
        self._adopt(day, universe)
        missed = now_ns - self.last_ns > _SECOND_NS
        if missed:
            self.gap(self.last_ns, now_ns, GapReason.RESTART)
        self.put_limits(now_ns)
        log.info("session_resumed", day=day.isoformat(), missed=missed, costs_as_of=self._narrator.costs_day)
        return missed

    def open_session(
        self,
        day: date,
        universe: Universe,
        program: Program,
        now_ns: int,
        *,
        simulated: bool,
        bar_path: bool,
        seed: int,
    ) -> None:
        """Write a session's opening records; books and bars of the session before are carried into it."""
        # Timers that fell due since the last record belong to the session before, and so do the books they leave.
        self.sequencer.advance(now_ns)
        before = self.engine.layout if self.engine.ready else None
        keys = [instrument.key for instrument, _ in universe.instruments]
        carried, bars = bytes(32), []
        overnight = Overnight(day)
        if before is not None:
            self._carried = self.engine.books()
        if self._carried is not None:
            overnight = self._overnight.until(day, self._carried)
            self._carried = overnight.books(self._carried)
            carried = self.store.keep_books(self._carried)
        if before is not None:
            bars = ring_drafts(before, overnight.old_keys(keys))
        self.store.keep(program)
        terms = terms_of(self._settings, day, simulated=simulated, bar_path=bar_path, seed=seed)
        self._check_homes(self._carried, universe, program)
        self._narrator.open(day, terms.costs_day or day)
        for draft in (
            session_draft(terms),
            self._instruments(universe),
            program_draft(program.source, program.manifest, universe.pairs, books=carried),
        ):
            self.sequencer.put(draft, now_ns)
        self._adopt(day, universe)
        self._tell_ledger(opened=True)
        self.put_limits(now_ns)
        if self.parameters.document is not None:
            self.put_params(now_ns)  # the program itself carries what files and configuration say
        actions = overnight.drafts(keys)
        for draft in (*bars, *actions):
            self.sequencer.put(draft, now_ns)
        if actions:
            self._tell_ledger(opened=True)  # what is open counts other units now
        overnight.tell()
        log.info(
            "session_opened",
            day=day.isoformat(),
            instruments=len(universe.instruments),
            books=len(program.manifest.books),
            carried=self._carried is not None,
            costs_as_of=self._narrator.costs_day,
        )

    def _instruments(self, universe: Universe) -> Draft:
        return instruments_draft(with_sectors(universe.instruments, self._settings.portfolio.sectors), universe.dump)

    def prepare_swap(self, universe: Universe, program: Program) -> None:
        """Do in a thread what a swap would hold the loop up with: keep the sidecars, lay the arena out."""
        self.store.keep(program)
        keys = tuple(instrument.key for instrument, _ in universe.instruments)
        same = keys == self.engine.layout.keys
        self.engine.prepare(None if same else self._instruments(universe).body, program.manifest, universe.pairs)

    def swap_program(self, universe: Universe, program: Program, now_ns: int) -> None:
        """Put another program in force inside the session; state of unchanged structures goes on."""
        before = self.engine.layout
        names = [f"{plan.strategy}@{plan.account}" for plan in before.manifest.books]
        structures = [before.manifest.structures[plan.structure].name for plan in before.manifest.books]
        old = {
            (names[book], structures[book], before.keys[instrument]): index
            for index, (book, instrument) in enumerate(before.pairs)
        }
        keys = tuple(instrument.key for instrument, _ in universe.instruments)
        copies = []
        for book, instrument in universe.pairs:
            plan = program.manifest.books[book]
            structure = program.manifest.structures[plan.structure].name
            mine, origin = f"{plan.strategy}@{plan.account}", f"{plan.origin}@{plan.account}"
            source = mine if mine in names or not plan.run_off else origin
            copies.append(old.get((source, structure, keys[instrument]), -1))
        self._check_homes(self.engine.books(), universe, program)
        self.store.keep(program)
        if keys != before.keys:
            self.sequencer.put(self._instruments(universe), now_ns)
        self.sequencer.put(program_draft(program.source, program.manifest, universe.pairs, copies), now_ns)
        self._adopt(self.day, universe)
        self._tell_ledger(opened=False)
        self.put_limits(now_ns)
        log.info("program_swapped", books=len(program.manifest.books), kept=sum(copy >= 0 for copy in copies))

    def reload(self, settings: Settings, parameters: Resolution) -> None:
        """Take new settings and values; what of them is live is put in force by the caller."""
        self._settings, self.parameters = settings, parameters

    def put_limits(self, now_ns: int) -> None:
        """Put the configuration's limits in force."""
        limits = book_limits(self._settings, self.engine.layout.manifest, self.parameters, self._money())
        entries = self._settings.limits.entries and not self.entries_held and not self.switches.entries_off
        portfolio = portfolio_limits(self._settings.portfolio)
        self.sequencer.put(limits_draft(limits, portfolio, entries=entries), now_ns)

    def _money(self) -> dict[str, Money]:
        """Say what every book is worth and was given, by its name."""
        plans, books = self.engine.layout.manifest.books, self.engine.table("books")
        return {
            f"{plan.strategy}@{plan.account}": Money(int(book["equity_paise"]), int(book["capital_paise"]))
            for plan, book in zip(plans, books, strict=False)
        }

    def keep_ledger(self, path: Path) -> LedgerWriter:
        """Begin to keep the ledger: what is recorded so far it reads from the journal, what comes it is told."""
        self.ledger = LedgerWriter(path, self._journal, until=self.writer.appended)
        return self.ledger

    def put_params(self, now_ns: int) -> int:
        """Swap parameter values between two records; return the sequence of the one that did it."""
        document = self.parameters.document
        sha = bytes(32) if document is None else bytes.fromhex(document.sha256)
        values = [list(book.values.values()) for book in self.parameters.books]
        sequence = self.sequencer.put(params_draft(values, document=sha, seq=self.parameters.seq), now_ns)
        if self.ledger is not None:
            self.ledger.params(self.parameters.seq, sequence)
        return sequence

    def frame(self, body: bytes, now_ns: int, connection: int) -> None:
        """Take market data in. Where the disk refuses and memory is full it is dropped, and the gap recorded later."""
        try:
            if self._dropped:
                if self._is_choked():
                    self._dropped += 1
                    return
                self._record_dropped(now_ns)
            began_ns = self._last_frame_ns = time.perf_counter_ns()
            self.sequencer.frame(body, now_ns, source=Source.KITE, connection=connection)
            self.on_applied((time.perf_counter_ns() - began_ns) / 1e9)
        except JournalError:
            self._dropped_since_ns = self._dropped_since_ns or now_ns
            self._dropped += 1

    def _is_choked(self) -> bool:
        """Say whether frames that were refused would be refused again: one gap is recorded, not one for each frame."""
        health = self.writer.health()
        return bool(health.failed) or 4 * health.waiting_bytes > self._settings.journal.memory_bytes

    def notice(self, notice: FeedNotice, now_ns: int) -> None:
        """Record what happened to a connection."""
        head = np.zeros(1, FEED_STATE_HEAD)
        head["state"], head["instruments"], head["code"] = notice.state, notice.instruments, notice.code
        draft = Draft(Kind.FEED_STATE, body_of(Kind.FEED_STATE, head), 0)
        self.sequencer.put(draft, now_ns, source=Source.KITE, connection=notice.connection)

    def gap(self, from_ns: int, to_ns: int, reason: GapReason, frames: int = 0) -> None:
        """Record that market data is missing."""
        head = np.zeros(1, GAP_HEAD)
        head["from_ns"], head["to_ns"], head["reason"], head["frames"] = from_ns, to_ns, reason, frames
        self.sequencer.put(Draft(Kind.GAP, body_of(Kind.GAP, head), 0), to_ns)
        log.warning("market_data_gap", seconds=round((to_ns - from_ns) / 1e9, 3), reason=reason.name.lower())

    def history(self, candles: dict[int, NDArray[Any]], asked_to_ns: int, now_ns: int) -> None:
        """Journal candles by instrument token, so that bars are filled and strategies warm up."""
        assert self._universe is not None
        for index, (instrument, group) in enumerate(self._universe.instruments):
            rows = candles.get(instrument.token, _NO_CANDLES)
            rows = rows[in_sessions(rows["start_ns"], {group})[group]]  # auctions make no bars
            if not len(rows):
                continue
            rows["instrument"] = index
            self.sequencer.put(history_draft(rows, _MINUTE_NS, asked_to_ns), now_ns)

    def command(
        self, code: Command, now_ns: int, *, book: int = -1, instrument: int = -1, request: int = 0, actor: int = 0
    ) -> int:
        """Give the core a command, an operator's or (actor 0) the daemon's own; return its sequence.

        The daemon's are entries off while it drains or the disk is nearly full.
        """
        head = np.zeros(1, COMMAND_HEAD)
        head["code"], head["book"], head["instrument"] = code, book, instrument
        head["request"], head["actor"] = request, actor
        source = Source.API if actor else Source.DAEMON
        return self.sequencer.put(Draft(Kind.COMMAND, body_of(Kind.COMMAND, head), 0), now_ns, source=source)

    def watch_disk(self, now_ns: int) -> None:
        """Stop entries before the disk is full, and allow them again when there is space."""
        health = self.writer.health()
        held = bool(health.failed) or self.writer.low_on_space()
        if held == self.entries_held or not self.engine.ready:
            return
        self.entries_held = held
        log.warning("entries_held" if held else "entries_released", reason=health.failed or "disk space")
        if held:
            self.command(Command.ENTRIES_OFF, now_ns)
        else:
            self.put_limits(now_ns)

    def books(self) -> dict[str, Any] | None:
        """Return the books as they stand; None before the first session."""
        return self.engine.books() if self.engine.ready else self._carried

    def busy_books(self) -> list[str]:
        """Name the books that hold a position or have an order in the market."""
        plans, books = self.engine.layout.manifest.books, self.engine.table("books")
        return [
            f"{plan.strategy}@{plan.account}"
            for plan, book in zip(plans, books, strict=False)
            if book["positions"] or book["working"]
        ]

    def flatten(self, names: Collection[str], now_ns: int) -> None:
        """Exit every position of some books at once."""
        for index, plan in enumerate(self.engine.layout.manifest.books):
            if f"{plan.strategy}@{plan.account}" in names:
                self.command(Command.EXIT_POSITION, now_ns, book=index)

    def snapshot(self) -> None:
        """Keep the books as they are now; a disk that refuses costs a snapshot, which the journal makes up for."""
        if self.engine.ready:
            keep = self._settings.journal.keep_snapshots
            document = self.engine.books()
            try:
                snapshots.save(self._snapshots, self.engine.sequence, document, schema=SCHEMA, keep=keep)
            except OSError as error:
                log.error("snapshot_failed", error=error.strerror or str(error))

    def warming(self) -> list[tuple[str, str, int, int]]:
        """List (strategy, instrument, bars folded, bars needed) of the pairs that may not decide yet."""
        layout = self.engine.layout
        pairs, series = self.engine.table("pairs"), self.engine.table("series")
        return [
            (plan.strategy, layout.keys[instrument], int(series["count"][int(pairs["series"][index])]), plan.warm_bars)
            for index, (book, instrument) in enumerate(layout.pairs)
            if not pairs["ready"][index] and pairs["series"][index] >= 0
            for plan in (layout.manifest.books[book],)
        ]

    @property
    def universe(self) -> Universe:
        """The instruments of the session, in the order of their numbers."""
        assert self._universe is not None
        return self._universe

    @property
    def journal(self) -> Path:
        return self._journal

    def _check_homes(self, books: dict[str, Any] | None, universe: Universe, program: Program) -> None:
        """Refuse, before anything is journaled, a program in which an open position would have no row."""
        plans = [f"{plan.strategy}@{plan.account}" for plan in program.manifest.books]
        held = {(plans[book], universe.instruments[place][0].key) for book, place in universe.pairs}
        homeless = homeless_positions(with_run_off(books, program.manifest, held), held) if books is not None else []
        if homeless:
            raise AtmandError(
                f"position {homeless[0]}",
                f"would have no strategy any more ({len(homeless)} such)",
                "keep the strategy and the instrument until the position is closed",
            )

    def _adopt(self, day: date | None, universe: Universe) -> None:
        groups = {group for _, group in universe.instruments}
        hours = () if day is None else session_windows(day)
        self.hours = tuple(window for window in hours if window.group in groups) or hours
        self.day, self._universe, self._pairs = day, universe, universe.pairs
        self._narrator.layout()

    def _hear(self, outputs: NDArray[Any]) -> None:
        """Hand on what a record put out; its audit is appended."""
        self._narrator.hear(outputs)
        if self.ledger is not None:
            self.ledger.hear(outputs, self.writer.appended)

    def _tell_ledger(self, *, opened: bool) -> None:
        """Tell the ledger whose rows follow: of a session that opened, or of another program inside it."""
        if self.ledger is None or self.day is None:
            return
        layout, day, close_ns = self.engine.layout, yyyymmdd(self.day), int(self.engine.header["session_close_ns"])
        if opened:
            pairs = self.engine.table("pairs")
            opening = Opening.of_tables(layout.manifest, layout.keys, pairs, day=day, close_ns=close_ns)
        else:
            opening = Opening(layout.manifest, layout.keys, day, close_ns)
        self.ledger.begin(opening, self.writer.appended)

    def _record_dropped(self, now_ns: int) -> None:
        self.gap(self._dropped_since_ns, now_ns, GapReason.OVERLOAD, self._dropped)
        self._dropped = self._dropped_since_ns = 0
        self.on_overload_gap()
