"""The vocabulary of the command line: options that verbs share, words read into values, results printed.

Only `cli` and `cli_journal` call it. Data goes to standard output, words to standard error.
"""

from __future__ import annotations

import csv
import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, ParamSpec, TypeVar

import orjson
import typer

from atmand.errors import ExitCode

__all__ = [
    "STYLE",
    "BarsData",
    "BarsFile",
    "Config",
    "ConfigWord",
    "CostsAsOf",
    "Json",
    "JsonLines",
    "Speed",
    "State",
    "Values",
    "assignments",
    "bars_path",
    "clock",
    "data_of",
    "day",
    "duration",
    "in_order",
    "moment",
    "nanoseconds",
    "print_csv",
    "print_facts",
    "print_json",
    "print_lines",
    "print_rows",
    "print_trades",
    "rupees",
    "say",
    "show",
    "speed",
    "state_of",
    "verb",
]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Ordered = TypeVar("_Ordered", date, time)
_UNITS: Final = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3_600 * 10**9, "d": 86_400 * 10**9}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?|")
_INDIA: Final = timezone(timedelta(hours=5, minutes=30))
_TRADE_COLUMNS: Final = (
    "instrument",
    "side",
    "quantity",
    "entry_time",
    "entry_price",
    "exit_time",
    "exit_price",
    "net",
    "exit_reason",
)


def duration(text: str) -> int:
    """Read `120s`, `5m`, `1h30m`, `90d` or `500ms` as nanoseconds above 0."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise typer.BadParameter(f"{text!r} is not a duration; write 120s, 5m, 1h30m, 90d or 500ms")
    nanoseconds = int(sum(Decimal(number) * _UNITS[unit] for number, unit in parts))
    if nanoseconds <= 0:
        raise typer.BadParameter(f"{text!r} is no time at all; write a duration above 0")
    return nanoseconds


def day(text: str) -> date:
    """Read a date, `2026-07-06`."""
    return _read(text, date.fromisoformat, "a date; write it as 2026-07-06")


def bars_path(text: str) -> Path:
    """Read what `--data` names: a file, a store's folder, or `store`; `:15m` behind a store chooses other bars."""
    name, colon, _ = text.rpartition(":")
    if text != "store" and not Path(text).exists() and not (colon and (name == "store" or Path(name).is_dir())):
        raise typer.BadParameter(f"{text!r} is no file or folder; name a file of bars, a bar store, or store")
    return Path(text)


def data_of(config: Path | None, data: Path | None) -> Path | None:
    """Return the bars that `--data` means: `store` is the configuration's bar store."""
    name, colon, bar = str(data).partition(":")
    if data is None or name != "store":
        return data
    from atmand.settings import load

    return Path(f"{load(config).bar_store}{colon}{bar}")


def clock(text: str) -> time:
    """Read a time of day in India, `09:20` or `09:20:30`."""
    found = _read(text, time.fromisoformat, "a time of day; write it as 09:20, India's time")
    if found.tzinfo is not None:
        raise typer.BadParameter(f"{text!r} names a zone; times of day here are India's, written as 09:20")
    return found


def moment(text: str) -> datetime:
    """Read a date and time, `2026-07-06T09:15:00+05:30`; India's time where no zone is named."""
    found = _read(text, datetime.fromisoformat, "a date and time; write it as 2026-07-06T09:15:00+05:30")
    return found if found.tzinfo is not None else found.replace(tzinfo=_INDIA)


def in_order(start: _Ordered | None, end: _Ordered | None) -> None:
    """Refuse a range whose `--from` lies after its `--to`."""
    if start is not None and end is not None and start > end:
        raise typer.BadParameter(f"{start} lies after --to {end}; write the earlier one first", param_hint="--from")


def nanoseconds(time: datetime) -> int:
    """Return a moment as nanoseconds since 1970 UTC, without the rounding of a float."""
    whole = int(time.replace(microsecond=0).timestamp())
    return whole * 10**9 + time.microsecond * 1_000


def speed(text: str) -> float | Literal["auto"]:
    """Read how many market seconds pass in one: a number above 0, or `auto`."""
    if text == "auto":
        return "auto"
    number = _read(text, float, "a speed; write auto, or a number above 0")
    if not 0 < number <= 86_400:
        raise typer.BadParameter(f"{text!r} is not a speed; write auto, or a number above 0 and up to 86400")
    return number


def assignments(words: Sequence[str], option: str = "--set") -> dict[str, float]:
    """Read `name=value` words into numbers by name; a name may come once."""
    found: dict[str, float] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (equals and name.isidentifier()):
            raise typer.BadParameter(f"{word!r} is not an assignment; write name=value", param_hint=option)
        if name in found:
            raise typer.BadParameter(f"{name!r} is set twice; write it once", param_hint=option)
        found[name] = _read(text, _number, "a number", option)
    return found


def _number(text: str) -> float:
    number = float(text)
    if not abs(number) < float("inf"):
        raise ValueError(text)
    return number


def _read(text: str, reader: Callable[[str], _T], what: str, option: str | None = None) -> _T:
    try:
        return reader(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not {what}", param_hint=option) from None


Config = Annotated[
    Path | None,
    typer.Option(help="The configuration. Default: ATMAND_CONFIG, ./atmand.toml, or the demo.", metavar="PATH"),
]
ConfigWord = Annotated[Path | None, typer.Argument(help="The same as --config.", metavar="CONFIG")]
State = Annotated[Path | None, typer.Option(help="The state directory, instead of the configuration's.", metavar="DIR")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON lines: this verb always does.")]
Speed = Annotated[
    Any,
    typer.Option(help="Market seconds a second, or auto: as fast as the machine holds.", parser=speed, metavar="SPEED"),
]
BarsFile = Annotated[
    Path | None,
    typer.Option(
        help="Draw the simulated market out of these one-minute bars (Parquet or CSV).",
        exists=True,
        dir_okay=False,
        metavar="FILE",
    ),
]
BarsData = Annotated[
    Any,
    typer.Option(
        "--data",
        help="Bars: Parquet or CSV, a bar store's folder, or store: the configuration's. "
        "Default: the simulator's history.",
        parser=lambda text: bars_path(text),
        metavar="BARS",
    ),
]
CostsAsOf = Annotated[
    Any,
    typer.Option(help="Apply this day's costs, for bars older than the tables.", parser=day, metavar="DAY"),
]
Values = Annotated[
    list[str] | None, typer.Option("--set", help="A parameter's value; may be repeated.", metavar="NAME=VALUE")
]


STYLE: Final[dict[str, Any]] = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def print_lines(documents: Iterable[Any]) -> None:
    """Print documents as JSON lines, as they come."""
    for document in documents:
        print_json(document)


def print_csv(rows: Iterable[dict[str, Any]]) -> None:
    """Print rows as CSV, as they come; the first one names the columns."""
    writer = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)


def show(result: dict[str, Any], as_json: bool) -> None:
    """Print a result: `notes` are words, `trades` a table, everything else facts."""
    for note in result.get("notes", ()):
        say(note)
    if as_json:
        print_json(result)
        return
    if result.get("trades"):
        print_trades(result["trades"])
        print()
    print_facts({name: value for name, value in result.items() if name not in ("trades", "notes")})


def say(text: str) -> None:
    """Print words: to standard error, so that data can be piped on; behind what was printed before."""
    sys.stdout.flush()
    print(text, file=sys.stderr)


def print_json(document: Any) -> None:
    """Print one JSON document on a line of its own."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
    sys.stdout.write(orjson.dumps(document, default=str, option=options).decode())


def print_facts(facts: Mapping[str, Any], prefix: str = "") -> None:
    """Print nested tables as `dotted.name = value` lines."""
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            print_facts(value, f"{prefix}{name}.")
        else:
            print(f"{prefix}{name} = {orjson.dumps(value, default=str).decode()}")


def print_rows(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a table as wide as its content, columns of numbers to the right."""
    lines = [[_cell(row.get(column)) for column in columns] for row in rows]
    aligned = []
    for index, column in enumerate(columns):
        cells = [line[index] for line in lines]
        width = max(map(len, (column, *cells)))
        adjust = str.rjust if cells and all(map(_NUMBER.fullmatch, cells)) else str.ljust
        aligned.append([adjust(cell, width) for cell in (column, *cells)])
    for row_cells in zip(*aligned, strict=True):
        print("  ".join(row_cells).rstrip())


def print_trades(trades: Iterable[Mapping[str, Any]]) -> None:
    """Print trades a line each, their result after costs in rupees."""
    rows = [{**trade, "net": rupees(trade["net_paise"])} for trade in trades]
    print_rows(_TRADE_COLUMNS, rows)


def rupees(paise: int | None) -> str | None:
    """Write paise as rupees with two decimals; None stays None."""
    return None if paise is None else f"{Decimal(paise) / 100:.2f}"


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    return "" if value is None else str(value)


def verb(group: typer.Typer, name: str, example: str) -> Callable[[Callable[_P, int | None]], Callable[_P, None]]:
    """Register a verb with its example; what it returns is the exit code, and a reader that leaves is no error."""

    def register(body: Callable[_P, int | None]) -> Callable[_P, None]:
        @functools.wraps(body)
        def command(*args: _P.args, **kwargs: _P.kwargs) -> None:
            try:
                code = body(*args, **kwargs)
                sys.stdout.flush()
            except BrokenPipeError:
                # The interpreter flushes once more when it leaves, and would complain then.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                code = ExitCode.DONE
            raise typer.Exit(int(code or ExitCode.DONE))

        group.command(name, epilog=f"Example: {example}")(command)
        return command

    return register


def state_of(context: typer.Context, config: Path | None, state: Path | None) -> Path:
    """Return the state directory that a verb asks about, without loading the configuration if it is named."""
    if state is not None:
        return state
    from atmand.settings import load

    return load(config or context.obj).instance.state
