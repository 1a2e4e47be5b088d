"""One strategy's expressions, compiled into shared statements: streams, instances, what is kept and what it needs.

A strategy is a main stream (its own bars) and others (another period or instrument). Every stream is a list of
statements that are run on each of its closed bars, in order, so that no state depends on how a condition
short-circuits.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn

import numpy as np

from atmand.core import functions as kernels
from atmand.core.cross import CROSS
from atmand.core.indicators import INDICATORS, Indicator
from atmand.lang.functions import FUNCTIONS, NAMES
from atmand.lang.habits import habit
from atmand.lang.source import SourceText, StrategyError
from atmand.lang.strategy import Parameter
from atmand.lang.types import Value
from atmand.lang.user_indicators import known_indicators
from atmand.lang.walk import Walk

__all__ = ["Compiled", "Compiler", "Kept", "StateField", "Statement", "Stream"]

_BLANK: Final = re.compile(r"#[^\n\r]*|[\n\r]")
"""Comments and line ends: an expression may be spread over lines, as inside parentheses."""
_TAKEN: Final = frozenset(
    {
        *("t", "index", "s", "p", "v", "bar", "open_", "high", "low", "close", "volume", "flags", "end_ns"),
        *("np", "math", "sum", "range", "row", "book"),
        *("abs", "float", "int", "min", "max", "verdict", "divide", "lookback", "missing", "day", "pair_at"),
        *("header_of",),
        *("if", "else", "and", "or", "not", "in", "is", "def", "for", "from", "as", "del", "try", "with", "pass"),
        *("lambda", "return", "yield", "while", "class", "global", "import", "raise", "assert", "except", "finally"),
        *("break", "continue", "elif", "nonlocal", "async", "await", "none", "true", "false"),
        *INDICATORS, *FUNCTIONS, *NAMES, *kernels.__all__,
    }
)  # fmt: skip
"""What a local of generated code may not be called."""


@dataclass(frozen=True)
class StateField:
    """A field of the strategy's state: its dtype, and the source code that names it in a generated module."""

    name: str
    code: str
    dtype: np.dtype[np.void]


@dataclass(frozen=True)
class Statement:
    """A line of generated code, what it assigns, and what it was written for."""

    code: str
    targets: tuple[str, ...] = ()
    note: str = ""
    pure: bool = False
    """Whether it changes no state, so that it may be run twice."""


@dataclass(frozen=True)
class Kept:
    """A call that keeps state: its field, the code of its parts, and what its result needs."""

    local: str
    value: Value


@dataclass
class Stream:
    """The bars of one instrument and period, and what is computed on them. The first is the strategy's own."""

    index: int
    of: str
    period_ns: int
    statements: list[Statement] = field(default_factory=list)
    late: list[Statement] = field(default_factory=list)
    """Those that wait until every instrument has taken its bar in."""
    kept: dict[str, Kept] = field(default_factory=dict)
    signals: dict[str, Value] = field(default_factory=dict)
    exports: dict[str, Value] = field(default_factory=dict)
    ready: dict[str, Value] = field(default_factory=dict)
    """Locals that must not be missing before the strategy may decide."""
    bars: int = 0
    has_end: bool = False

    @property
    def label(self) -> str:
        """How the stream reads in a name: `15m`, `nifty_50_5m`."""
        minutes = f"{self.period_ns // 60_000_000_000}m"
        symbol = re.sub(r"\W+", "_", self.of.rpartition(":")[2]).lower()
        return f"{symbol}_{minutes}" if symbol else minutes


@dataclass
class Compiled:
    """What the expressions of one strategy came to."""

    streams: list[Stream]
    state: list[StateField] = field(default_factory=list)
    lookbacks: set[str] = field(default_factory=set)
    """Parameters that what is kept from bar to bar depends on: look-backs, and numbers inside such calls."""
    steps: dict[str, Indicator] = field(default_factory=dict)
    """The indicators that are called."""
    crossed: list[str] = field(default_factory=list)
    """State fields that hold what is compared between instruments."""
    signals: list[str] = field(default_factory=list)
    """External signals that are read."""
    warnings: list[str] = field(default_factory=list)
    conditions: set[str] = field(default_factory=set)
    """Locals that are true or false."""
    kept_streams: set[int] = field(default_factory=set)
    """Streams whose values go into what the main stream keeps."""

    @property
    def main(self) -> Stream:
        return self.streams[0]

    @property
    def ring_bars(self) -> int:
        """Bars of its own that the strategy keeps, so that everything can be folded again."""
        return self.main.bars + 2

    def stream_ring(self, stream: Stream) -> int:
        """Bars that another stream keeps: its own need, and those that the main stream's memory goes back over."""
        back = (
            2 * -(-self.ring_bars * self.main.period_ns // stream.period_ns) if stream.index in self.kept_streams else 0
        )
        return stream.bars + 2 + back


class Compiler:
    """Compiles the expressions of one strategy file, one after the other, into shared statements."""

    def __init__(
        self,
        source: SourceText,
        params: Mapping[str, Parameter],
        signals: Mapping[str, str],
        period_ns: int = 60_000_000_000,
        *,
        has_position: bool = True,
    ) -> None:
        self.source = source
        self.params = params
        self.signals = signals
        self.indicators = known_indicators()
        self.has_position = has_position
        """Whether there is a pair whose position can be asked for: a lone expression has none."""
        self._taken: set[str] = {*_TAKEN, *self.indicators}
        self._open_signals: list[str] = []
        self.result = Compiled([Stream(0, "", period_ns)])

    def number(self, text: str, *path: str) -> Value:
        """Compile an expression that must be a number; `path` is its place in the file."""
        value = self._compile(text, path, self.result.main)
        if value.is_bool:
            self.refuse(path, 0, "this is a condition where a number is wanted", "remove the comparison")
        return value

    def condition(self, text: str, *path: str) -> Value:
        """Compile an expression that must be a condition."""
        value = self._compile(text, path, self.result.main)
        if not value.is_bool:
            self.refuse(path, 0, "this is a number where a condition is wanted", "compare it with something")
        return value

    def any(self, text: str, *path: str) -> Value:
        """Compile an expression of either type."""
        return self._compile(text, path, self.result.main)

    def compile_signals(self) -> None:
        """Compile every signal, so that one which no rule uses is checked all the same."""
        for name in self.signals:
            self.signal(name, 0, self.result.main)

    def signal(self, name: str, depth: int, stream: Stream) -> Value:
        """Return a signal of the file as it is on a stream's bars."""
        if name in stream.signals:
            return stream.signals[name]
        path = ("signals", name)
        if name in self._open_signals:
            chain = " -> ".join([*self._open_signals, name])
            self.refuse(path, 0, f"signal refers to itself: {chain}", "break the circle")
        self._open_signals.append(name)
        value = self._compile(self.signals[name], path, stream, depth)
        self._open_signals.pop()
        local = self.unique(name)
        statement = Statement(f"{local} = {value.code}", (local,), f"signals.{name} = {self.signals[name]}")
        (stream.late if value.staged else stream.statements).append(statement)
        if value.is_bool:
            self.result.conditions.add(local)
        stream.signals[name] = replace(value, code=local, limits=()) if not value.is_bool else value.named(local)
        return stream.signals[name]

    def stream(self, of: str, period_ns: int) -> Stream:
        """Return the stream of an instrument (empty: the strategy's own) and a period."""
        for stream in self.result.streams:
            if (stream.of, stream.period_ns) == (of, period_ns):
                return stream
        self.result.streams.append(Stream(len(self.result.streams), of, period_ns))
        return self.result.streams[-1]

    def keep(
        self,
        stream: Stream,
        base: str,
        call: str,
        state: str,
        dtype: np.dtype[np.void],
        value: Value,
        *,
        outputs: tuple[str, ...] = (),
        note: str = "",
    ) -> Kept:
        """Return a call that keeps state, adding its field and its statement when it is new; `{}` in it is the field.

        `value` is what its result needs; its code is filled in.
        """
        if call not in stream.kept:
            local = self.unique(f"{base}_{stream.label}" if stream.index else base)
            self.result.state.append(StateField(local, state, dtype))
            targets = tuple(f"{local}_{output}" for output in outputs) or (local,)
            code = call.format(f"s.{local}")
            stream.statements.append(Statement(f"{', '.join(targets)} = {code}", targets, note))
            stream.kept[call] = Kept(local, value.named(local))
            self._remember(stream, value)
            if value.is_bool or call.startswith("opening_step"):
                self.result.conditions.add(local)
        return stream.kept[call]

    def day(self, stream: Stream, bars: int) -> str:
        """Return the field of the running day, which a stream keeps once."""
        call = "day_step({}, open_, high, low, close, volume, bar.start_ns)"
        if call not in stream.kept:
            from atmand.core.day import DAY

            local = self.unique("day_of_" + stream.label if stream.index else "today")
            self.result.state.append(StateField(local, "DAY", DAY))
            stream.statements.append(Statement(call.format(f"s.{local}"), (), "the day so far, and the day before"))
            stream.kept[call] = Kept(local, Value(local))
        stream.bars = max(stream.bars, bars)
        return stream.kept[call].local

    def bar_end(self, stream: Stream) -> None:
        """Have the end of a stream's bar at hand, as `end_ns`."""
        if not stream.has_end:
            stream.has_end = True
            code = f"end_ns = stream_end_ns(header_of(t), {stream.period_ns}, bar.start_ns)"
            stream.statements.insert(0, Statement(code, ("end_ns",), "the bar's end", True))

    def compare(self, value: Value) -> str:
        """Put a number up for comparison between instruments; return the state field that holds it."""
        main = self.result.main
        call = f"cross {value.code}"
        if call not in main.kept:
            local = self.unique("compared")
            self.result.state.append(StateField(local, "CROSS", CROSS))
            self.result.crossed.append(local)
            main.statements.append(Statement(f"s.{local}.value = {value.code}", (), "put up for comparison"))
            main.statements.append(Statement(f"s.{local}.start_ns = bar.start_ns"))
            main.statements.append(Statement(f"s.{local}.known = 0"))
            main.kept[call] = Kept(local, value)
        return main.kept[call].local

    def export(self, value: Value, stream: Stream) -> Value:
        """Carry a stream's last value over to the main stream."""
        main = self.result.main
        key = f"{stream.index} {value.code}"
        if key not in stream.exports:
            base = value.code if value.code.isidentifier() else "value"
            local = self.unique(
                f"last_{base}" if base.endswith(stream.label) else f"last_{base.strip('_')}_{stream.label}"
            )
            kind = "i8" if value.is_bool else "f8"
            self.result.state.append(StateField(local, f'"{kind}"', np.dtype(kind)))
            kept = f"1 if {value.code} else 0" if value.is_bool else value.code
            stream.statements.append(Statement(f"s.{local} = {kept}", (), "for the main bars"))
            code = f"s.{local} != 0" if value.is_bool else f"s.{local} if s.seen_{stream.index} else math.nan"
            note = f"as it was on the last {stream.label} bar"
            main.statements.insert(0, Statement(f"{local} = {code}", (local,), note, True))
            if value.is_bool:
                self.result.conditions.add(local)
            self._remember(stream, value)
            stream.exports[key] = replace(
                value, code=local, bars=0, seen=lambda _: (0, 0), streams=frozenset({stream.index}), limits=()
            )
            if not value.sparse and not value.is_bool:
                main.ready[local] = stream.exports[key]
        return stream.exports[key]

    def wait_for(self, stream: Stream, local: str, value: Value) -> None:
        """Let no decision be made before a local has a value."""
        if not value.sparse:
            stream.ready.setdefault(local, value)

    def unique(self, base: str) -> str:
        """Return a name for a local and its state that nothing else has."""
        name = re.sub(r"\W+", "_", base).strip("_").lower() or "value"
        if name[0].isdigit():
            name = f"x{name}"
        wanted, number = name, 2
        while wanted in self._taken:
            wanted, number = f"{name}_{number}", number + 1
        self._taken.add(wanted)
        return wanted

    def refuse(self, path: Iterable[str], offset: int, what: str, remedy: str) -> NoReturn:
        """Refuse what stands `offset` characters into an expression."""
        path = tuple(path)
        where = f"{'.'.join(path)}: " if path else ""
        raise StrategyError(self.source, self.source.find_text(offset, *path), f"{where}{what}", remedy)

    def warn(self, path: Iterable[str], offset: int, what: str) -> None:
        """Note what is allowed and hardly meant, with its line and a caret."""
        path = tuple(path)
        where = f"{'.'.join(path)}: " if path else ""
        place = self.source.find_text(offset, *path)
        text = f"{self.source.name}:{place.line}:{place.column}: {where}{what}\n{self.source.excerpt(place)}"
        if text not in self.result.warnings:
            self.result.warnings.append(text)

    def _remember(self, stream: Stream, value: Value) -> None:
        stream.bars = max(stream.bars, value.bars)
        self.result.lookbacks |= value.params
        if stream.index == 0:
            self.result.kept_streams |= value.streams

    def _compile(self, text: str, path: tuple[str, ...], stream: Stream, depth: int = 0) -> Value:
        line = _BLANK.sub(lambda found: " " * len(found[0]), text)
        indent = len(line) - len(line.lstrip())
        try:
            tree = ast.parse(line.strip(), mode="eval")
        except SyntaxError as error:
            # An offset of 0 is the text's end.
            offset = indent + error.offset - 1 if error.offset else len(line.rstrip())
            what = error.msg if error.msg[:1] == "'" else "it cannot be read from here on"
            what = what if error.offset else "it ends too early"
            known = habit(line, offset) or (offset, f"not an expression: {what}", "see docs/strategies.md")
            self.refuse(path, min(known[0], len(text)), *known[1:])
        except (ValueError, RecursionError, MemoryError):
            self.refuse(path, 0, "not an expression", "split it into signals")
        return Walk(self, line, path, stream).value(tree.body, depth)
