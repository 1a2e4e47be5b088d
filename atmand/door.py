"""The daemon's writing door: a request becomes a record, is applied, and is answered when the journal has written it.

All writes of the API come through `Door.submit`, on the loop. Between the check of a request's key and its record
nothing waits, so that the same request twice is one record.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
import orjson
import structlog

from atmand.api.door import Ack, KeyReusedError, NotWrittenError, Operation, Sender, Signal, UnknownNameError, Write
from atmand.clocks import monotonic_ns
from atmand.core.inputs import ColumnValue, column_draft
from atmand.core.records import Command, Kind, Source
from atmand.errors import AtmandError
from atmand.ledger.trades import market_time, row_name
from atmand.market.instruments import resolve
from atmand.trading import Trading
from atmand.universe import Universe

__all__ = ["Door", "Remembered"]

log = structlog.get_logger()

_PATIENCE_S: Final = 2.0
"""How long an answer waits for the journal; TradingView gives up after three seconds."""
_MOST_KEYS: Final = 4_096
_KEY_AGE_NS: Final = 24 * 3_600 * 10**9
_ALL: Final = -1
_SWITCHING: Final = (Command.ENTRIES_ON, Command.ENTRIES_OFF)
_LONGEST_NAME: Final = 64


class _State(Protocol):
    """What the door must know of the daemon."""

    @property
    def phase(self) -> str: ...

    def entries(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class _Kept:
    digest: bytes
    ack: Ack
    at_ns: int


class Remembered:
    """Answers by sender and key: at most 4,096, for a day of machine time, and not over a restart."""

    def __init__(self, clock: Callable[[], int] = monotonic_ns) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[int, str], _Kept] = OrderedDict()

    def find(self, sender: Sender, digest: bytes) -> Ack | None:
        """Return the answer to the same request; KeyReusedError where the key came with another."""
        kept = None if sender.key is None else self._kept.get((sender.actor, sender.key))
        if kept is None or self._clock() - kept.at_ns > _KEY_AGE_NS:
            return None
        if kept.digest != digest:
            raise KeyReusedError("Idempotency-Key", "it came before, with another request", "send a new key")
        return replace(kept.ack, repeated=True)

    def keep(self, sender: Sender, digest: bytes, ack: Ack) -> None:
        if sender.key is None:
            return
        place = (sender.actor, sender.key)
        self._kept[place] = _Kept(digest, ack, self._clock())
        self._kept.move_to_end(place)
        while len(self._kept) > _MOST_KEYS:
            self._kept.popitem(last=False)


class Door:
    """One daemon's door. `clock_ns` is market time; `state` says whether the daemon trades yet, or still."""

    def __init__(self, trading: Trading, clock_ns: Callable[[], int], state: _State) -> None:
        self._trading, self._clock_ns, self._state = trading, clock_ns, state
        self._remembered = Remembered()
        self._keeping = asyncio.Lock()
        self._named: Universe | None = None
        self._numbers: dict[str, int] = {}

    async def submit(self, write: Write, sender: Sender) -> Ack:
        """Record, apply, wait for the journal, answer; see `api.door.Submit`."""
        digest = _digest(write)
        ack = self._remembered.find(sender, digest)
        if ack is None:
            self._check_ready()
            ack = self._put(write, sender, digest)
            self._remembered.keep(sender, digest, ack)
        if isinstance(write, Operation) and write.code in _SWITCHING:
            await self._keep_switches()
        await self._written(ack.sequence)
        return ack

    def _check_ready(self) -> None:
        """Refuse before anything is applied: a daemon that starts or ends, a disk that refuses."""
        if self._state.phase != "running" or not self._trading.engine.ready:
            raise NotWrittenError("daemon", f"it is {self._state.phase}; nothing was done", "try again in a moment")
        failed = self._trading.writer.health().failed
        if failed:
            raise NotWrittenError("journal", f"{failed}; nothing was done", "see /health/ready")

    async def _keep_switches(self) -> None:
        """Have a switch outlive the daemon before it is answered; the one that came last is written last."""
        async with self._keeping:
            try:
                await asyncio.to_thread(self._trading.switches.keep)
            except OSError as error:
                what = f"{error.strerror}: it is done, and would not outlive a restart"
                raise NotWrittenError("state", what, "make room and ask again") from None

    async def _written(self, sequence: int) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._trading.writer.written_to(sequence)
        except (TimeoutError, AtmandError):
            what = f"record {sequence} is applied, and not yet written"
            raise NotWrittenError("journal", what, "ask again with the same key: it is done once") from None

    def _put(self, write: Write, sender: Sender, digest: bytes) -> Ack:
        now_ns = max(self._clock_ns(), self._trading.last_ns)
        if isinstance(write, Signal):
            return self._signal(write, sender, digest, now_ns)
        match write.code:
            case Command.PAUSE_BOOK | Command.RESUME_BOOK:
                done = self._pause(write, sender, now_ns)
            case Command.EXIT_POSITION:
                done = self._exit(write, sender, now_ns)
            case _:
                done = self._switch_entries(write, sender, now_ns)
        log.info(
            "command_taken",
            command=write.code.name.lower(),
            strategy=write.strategy,
            instrument=write.instrument,
            trade_id=write.trade,
            sender=sender.name,
            sequence=self._trading.engine.sequence,
        )
        return Ack(self._trading.engine.sequence, self._trading.last_ns, done)

    def _signal(self, signal: Signal, sender: Sender, digest: bytes, now_ns: int) -> Ack:
        names = self._trading.engine.layout.manifest.signals
        if signal.name not in names:
            known = f"known are {', '.join(names)}" if names else "no strategy that runs reads any"
            raise UnknownNameError(f"signal {signal.name[:64]}", "no strategy reads it", known)
        instrument = _ALL if signal.instrument is None else self._instrument(signal.instrument)
        until_ns = 0 if signal.valid_s is None else now_ns + round(signal.valid_s * 10**9)
        value = ColumnValue(instrument, names.index(signal.name), signal.value, until_ns)
        draft = column_draft(Kind.SIGNAL, [value], as_of_ns=now_ns, sha256=digest, actor=sender.actor)
        sequence = self._trading.sequencer.put(draft, now_ns, source=Source.API)
        key = None if instrument == _ALL else self._trading.engine.layout.keys[instrument]
        log.info(
            "signal_taken",
            signal=signal.name,
            value=signal.value,
            instrument=key,
            valid_s=signal.valid_s,
            sender=sender.name,
            sequence=sequence,
        )
        until = market_time(until_ns) if until_ns else None
        done = {"signal": signal.name, "value": signal.value, "instrument": key, "valid_until": until}
        return Ack(sequence, self._trading.last_ns, done)

    def _pause(self, operation: Operation, sender: Sender, now_ns: int) -> dict[str, Any]:
        books = list(self._books(operation.strategy))
        for book, _ in books:
            self._command(operation.code, sender, now_ns, book=book)
        accounts = [account for _, account in books]
        return {
            "strategy": operation.strategy,
            "accounts": accounts,
            "paused": operation.code is Command.PAUSE_BOOK,
        }

    def _exit(self, operation: Operation, sender: Sender, now_ns: int) -> dict[str, Any]:
        layout, pairs = self._trading.engine.layout, self._trading.engine.table("pairs")
        places = list(self._places(operation))
        if not places:
            what = f"trade {operation.trade}" if operation.trade is not None else f"instrument {operation.instrument}"
            raise UnknownNameError(what, "no open position is of it", "atmand positions lists those there are")
        positions = [
            {
                "strategy": layout.manifest.books[book].strategy,
                "account": layout.manifest.books[book].account,
                "instrument": layout.keys[instrument],
                "quantity": int(pairs["quantity"][place]),
                "trade_id": _trade_id(pairs[place]),
            }
            for place, (book, instrument) in places
        ]
        for _, (book, instrument) in places:
            self._command(operation.code, sender, now_ns, book=book, instrument=instrument)
        return {"positions": positions}

    def _switch_entries(self, operation: Operation, sender: Sender, now_ns: int) -> dict[str, Any]:
        """Switch entries for good; switched on, they are still off where limits or the disk say so."""
        off = operation.code is Command.ENTRIES_OFF
        self._command(operation.code, sender, now_ns)
        self._trading.switches.entries_off = off
        if not off:
            self._trading.put_limits(now_ns)
        return dict(self._state.entries())

    def _command(self, code: Command, sender: Sender, now_ns: int, *, book: int = _ALL, instrument: int = _ALL) -> None:
        request = 0 if sender.key is None else request_number(sender.key)
        self._trading.command(code, now_ns, book=book, instrument=instrument, request=request, actor=sender.actor)

    def _books(self, strategy: str | None) -> Iterator[tuple[int, str]]:
        """Yield the books of a strategy (None: of all) and their accounts."""
        plans = self._trading.engine.layout.manifest.books
        if strategy is not None and all(plan.strategy != strategy for plan in plans):
            known = ", ".join(dict.fromkeys(plan.strategy for plan in plans))
            raise UnknownNameError(f"strategy {strategy[:64]}", "no such strategy runs", f"known are {known}")
        for book, plan in enumerate(plans):
            if strategy is None or plan.strategy == strategy:
                yield book, plan.account

    def _places(self, operation: Operation) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield the pairs that an exit means: those with a position or an entry under way."""
        layout, pairs = self._trading.engine.layout, self._trading.engine.table("pairs")
        books = {book for book, _ in self._books(operation.strategy)}
        wanted = None if operation.instrument is None else self._instrument(operation.instrument)
        for place in np.flatnonzero((pairs["quantity"] != 0) | (pairs["entry_order"] >= 0)).tolist():
            book, instrument = layout.pairs[place]
            mine = instrument == wanted if operation.trade is None else _trade_id(pairs[place]) == operation.trade
            if book in books and mine:
                yield place, (book, instrument)

    def _instrument(self, name: str) -> int:
        """Find an instrument of the session by its key, or by EXCHANGE:SYMBOL where only one fits."""
        universe = self._trading.universe
        if universe is not self._named:
            self._named, self._numbers = universe, {i.key: n for n, (i, _) in enumerate(universe.instruments)}
        if name not in self._numbers:
            try:
                key = resolve(name[:_LONGEST_NAME], [instrument for instrument, _ in universe.instruments]).key
            except AtmandError as error:
                raise UnknownNameError(error.where, error.what, error.remedy) from None
            self._numbers[name] = self._numbers[key]
        return self._numbers[name]


def request_number(key: str) -> int:
    """Return the number under which a COMMAND names its request: 63 bits of the key's sha256."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


def _digest(write: Write) -> bytes:
    """Return the sha256 of what is asked, which has no token in it: the same for the same request."""
    return hashlib.sha256(orjson.dumps({"kind": type(write).__name__, **asdict(write)})).digest()


def _trade_id(pair: Any) -> str | None:
    return row_name(int(pair["entry_cause"]), int(pair["entry_index"])) if pair["quantity"] else None
