"""A user's own indicators: Python files that the configuration names, each with kernels and a list `INDICATORS`.

A file is imported under a name that carries its text's hash, from a copy beside the generated programs, so that numba's
cache never mistakes one text for another. A generated module carries the text itself: a journal replays without the
file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final, get_args

import numpy as np

from atmand.core import functions
from atmand.core.indicators import INDICATORS, Indicator
from atmand.core.indicators.registry import Unit
from atmand.errors import AtmandError

__all__ = ["embedded", "embedding", "is_users", "known_indicators", "use_indicators"]

_PREFIX: Final = "atmand_indicators_"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")
_INPUTS: Final = frozenset({"source", "source2", "open", "high", "low", "close", "volume", "start_ns"})
_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        """abs apply arena address_of begin bool book_at clip close closed_at decide draw_step embedded entry exp float
        header_of high index instrument_at int kernel log low lookback mark_books math max min noref np on_command
        on_gap on_history on_limits on_params on_ticks open output_at p pair_at pairs position range record_at ring_at
        routine rows_at run_bars s series_at sign sqrt t timed_events timer_ns v verdict_at volume crossing
        column_age column_value on_columns cross_rank cross_zscore clock_minute day_step days_to_expiry
        minutes_since_open minutes_to_close opening_step stream_end_ns weekday_of settle driver entry local_kernel
        local_routine subscription_at bars_held entry_price position_value profit profit_r trades_today""",
    )
) | frozenset(functions.__all__)
"""Names that a generated module or the language has already."""
_MAX_BYTES: Final = 1_000_000

_users: dict[str, Indicator] = {}
_texts: dict[str, str] = {}


def known_indicators() -> Mapping[str, Indicator]:
    """Return the indicators that a strategy may name: ours, and those of the files in use."""
    return {**INDICATORS, **_users}


def use_indicators(files: Sequence[Path]) -> None:
    """Take the indicators of these files into use, and no others; AtmandError where one is refused."""
    found: dict[str, tuple[Indicator, Path]] = {}
    for file in files:
        for row in _rows_of(file):
            other = "atmand" if row.name in INDICATORS else found[row.name][1] if row.name in found else None
            if other is not None:
                raise AtmandError(str(file), f"{row.name!r} is an indicator of {other} already", "give it another name")
            found[row.name] = row, file
    _users.clear()
    _users.update((name, row) for name, (row, _) in found.items())


def is_users(module: str) -> bool:
    """Say whether a row's module is a user's file."""
    return module.startswith(_PREFIX)


def embedding(module: str, names: Sequence[str]) -> str:
    """Write the lines of a generated module that bring a user's file with it and take some of its steps."""
    lines = "\n".join(f"    {line!r}" for line in _texts[module].splitlines(keepends=True))
    local = f"_{module.removeprefix(_PREFIX)}"
    steps = "\n".join(f"{name} = {local}.{name}" for name in names)
    return f"""from atmand.lang.user_indicators import embedded

{local} = embedded(
{lines}
)
INDICATORS = INDICATORS | {{row.name: row for row in {local}.INDICATORS}}
{steps}


"""


def embedded(text: str) -> ModuleType:
    """Import a user's file by the text that a generated module carries."""
    try:
        return _imported(text)
    except AtmandError:
        raise
    except Exception as error:
        where = f"a program's own indicators, line {_line_of(error)}"
        remedy = "replay it with the version that recorded it"
        raise AtmandError(where, f"{type(error).__name__}: {error}", remedy) from error


def _imported(text: str) -> ModuleType:
    name = _PREFIX + hashlib.sha256(text.encode()).hexdigest()[:20]
    _texts[name] = text
    if name not in sys.modules:
        path = _written(name, text)
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise AtmandError(str(path), "not a module", "remove it; it is written again")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _written(name: str, text: str) -> Path:
    """Write a file's copy where numba may keep what it compiles of it, whole or not at all."""
    cache = os.environ.get("NUMBA_CACHE_DIR")
    if cache is None:
        raise AtmandError("NUMBA_CACHE_DIR", "not set", "start through `atmand`, or name a writable directory")
    path = Path(cache) / "programs" / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(text, "utf-8")
        temporary.replace(path)
    return path


def _rows_of(file: Path) -> list[Indicator]:
    """Import a file and check its rows."""
    try:
        raw = file.read_bytes()
        text = raw.decode()
    except OSError as error:
        what = error.strerror or "cannot be read"
        raise AtmandError(str(file), what, "check `indicators` in the configuration") from None
    except UnicodeDecodeError as error:
        raise AtmandError(str(file), f"byte {error.start} is not UTF-8", "save the file as UTF-8") from None
    if len(raw) > _MAX_BYTES:
        raise AtmandError(str(file), f"{len(raw)} bytes is no file of indicators", f"keep it under {_MAX_BYTES} bytes")
    try:
        module = _imported(text)
    except AtmandError:
        raise
    except Exception as error:
        line = _line_of(error)
        where = f"{file}:{line}" if line else str(file)
        remedy = "a file of indicators imports atmand, numpy and the standard library only"
        raise AtmandError(where, f"{type(error).__name__}: {error}", remedy) from error
    rows = getattr(module, "INDICATORS", None)
    if not isinstance(rows, list | tuple) or not all(isinstance(row, Indicator) for row in rows):
        raise AtmandError(str(file), "has no list INDICATORS of Indicator rows", "see docs/extending.md")
    checked = [replace(row, module=module.__name__, group=row.group or "own") for row in rows]
    for row in checked:
        _check(row, getattr(module, row.name, None), file)
    return checked


def _line_of(error: Exception) -> int | None:
    """Return the line of a user's file in which an exception was raised."""
    line, trace = getattr(error, "lineno", None), error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).name.startswith(_PREFIX):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _check(row: Indicator, step: Any, file: Path) -> None:
    where = f"{file}: {row.name}"
    for wrong, remedy in _faults(row, step):
        if wrong:
            raise AtmandError(where, wrong, remedy)
    tops = [20 if default is None else default for _, default, _ in row.lookbacks]
    state = _answer(row.state, tops, f"{where}: state")
    if not isinstance(state, np.dtype) or not state.names:
        raise AtmandError(f"{where}: state", "makes no structured dtype", "use `fields` or `scalars`")
    bars = _answer(row.warm_up, tops, f"{where}: warm_up")
    if not isinstance(bars, int) or bars < 0:
        raise AtmandError(f"{where}: warm_up", f"gives {bars!r}", "give a whole number of bars from 0")


def _faults(row: Indicator, step: Any) -> list[tuple[str, str]]:
    """Return what is wrong with a row, empty where it is right, each with its remedy."""
    function = getattr(step, "py_func", step)
    expected = 1 + len(row.inputs) + len(row.lookbacks) + len(row.numbers)
    taken = getattr(getattr(function, "__code__", None), "co_argcount", -1)
    strange = sorted(set(row.inputs) - _INPUTS)
    sources = [name for name in row.inputs if name.startswith("source")]
    units = set(row.units) - set(get_args(Unit))
    return [
        ("" if _NAME.fullmatch(row.name) else "not a name", "use lower-case letters, digits and _"),
        (f"{row.name} is a word of the language" if row.name in _WORDS else "", "give it another name"),
        ("" if callable(step) else "there is no kernel of this name", "name the row as its function"),
        (
            f"the kernel takes {taken} arguments, the row says {expected}" if taken != expected else "",
            "take the state, the inputs, the look-backs, the numbers",
        ),
        (f"unknown input {strange[0]}" if strange else "", f"known: {', '.join(sorted(_INPUTS))}"),
        ("source2 comes without source" if sources == ["source2"] else "", "name source first"),
        (
            "" if all(1 <= least <= (default or least) <= 5_000 for _, default, least in row.lookbacks)
            else "a bad look-back",
            "write (name, default or None, least), from 1 to 5000",
        ),
        (
            "" if all(low <= default <= high for _, default, low, high in row.numbers) else "a bad number",
            "write (name, default, low, high)",
        ),
        (f"unknown unit {min(units)}" if units else "", f"known: {', '.join(get_args(Unit))}"),
        (
            "" if len(row.units) in (1, len(row.outputs)) else "units do not fit the outputs",
            "give one unit, or one for each output",
        ),
    ]  # fmt: skip


def _answer(function: Callable[..., Any], tops: list[int], where: str) -> Any:
    try:
        return function(*tops)
    except Exception as error:
        raise AtmandError(where, f"{type(error).__name__}: {error}", "it takes one number a look-back") from error
