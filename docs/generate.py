"""Writes the generated parts of the documentation from the code: `python docs/generate.py`.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`; the tests fail where one is out of step.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from atmand.api.metrics import METRICS
from atmand.api.settings import ApiSettings
from atmand.core.indicators import INDICATORS, Indicator
from atmand.feed.kite_protocol import KiteFeedSettings
from atmand.history.settings import HistorySettings, RecordSettings
from atmand.journal.settings import JournalSettings
from atmand.lang.functions import FUNCTIONS, NAMES
from atmand.lang.functions import call_of as function_call
from atmand.lang.strategy import load_strategy
from atmand.lang.types import Type
from atmand.logs import LogSettings
from atmand.market.cost_table import CHARGES, PLANS, SEGMENTS, Row, rows_of
from atmand.market.session_table import Hours, Phase, SessionTable, Stretch, parse_table
from atmand.market.settings import InstrumentSettings
from atmand.market.tables import load_table
from atmand.portfolio import PortfolioSettings
from atmand.research.settings import ResearchSettings
from atmand.settings import (
    AccountSettings,
    FeedSettings,
    InstanceSettings,
    LimitSettings,
    MarketSettings,
    Settings,
    SimulatorSettings,
    StrategySettings,
)

FOLDER: Final = Path(__file__).parent

TABLES: Final[dict[str, type[BaseModel]]] = {
    "instance": InstanceSettings,
    "feed": FeedSettings,
    "feed.kite": KiteFeedSettings,
    "simulator": SimulatorSettings,
    "market": MarketSettings,
    "instruments": InstrumentSettings,
    "accounts.NAME": AccountSettings,
    "strategies.NAME": StrategySettings,
    "limits": LimitSettings,
    "portfolio": PortfolioSettings,
    "journal": JournalSettings,
    "api": ApiSettings,
    "log": LogSettings,
    "research": ResearchSettings,
    "history": HistorySettings,
    "record": RecordSettings,
}
"""Every table of a configuration, and the model that checks it."""

TOP_KEYS: Final = {"indicators"}
"""The keys that stand at the top of the file, in no table."""

GROUPS: Final = {
    "overlap": "Averages and bands",
    "momentum": "Momentum and trend",
    "volume": "Volume",
    "volatility": "Volatility",
    "statistics": "Statistics",
    "price": "Price",
    "cycle": "Cycles",
    "session": "The day",
    "pattern": "Candle patterns",
}
"""The groups of indicators in the order of the page, and their titles."""

CHARGE_TITLES: Final = {
    "exchange": "Exchange charges and investor protection fund",
    "stt": "Securities transaction tax",
    "sebi": "SEBI turnover fee",
    "stamp": "Stamp duty",
    "gst": "GST",
}
"""The charges of the page of costs, and their titles."""

NO_CAP: Final = 9_000_000_000
"""A cap of so many paise is none."""

UNITS: Final = {
    "price": "rupees",
    "source": "the source's",
    "percent": "percent",
    "ratio": "ratio",
    "volume": "units",
    "bars": "bars",
    "number": "none",
}
"""What a row's unit is called on the page."""

WORDS: Final = {
    "feed.kite.api_key": "The app's key. A secret: keep it out of the file.",
    "feed.kite.access_token_file": "The file with the day's access token; read again whenever one is refused.",
    "feed.kite.ws_url": "Where market data is streamed from.",
    "feed.kite.rest_url": "Where the instrument dump and past candles come from.",
    "feed.kite.mode": "What is subscribed. Paper orders are matched against depth, which only `full` carries.",
    "feed.kite.instruments_per_connection": "Most instruments on one connection; Kite allows 3000.",
    "feed.kite.connect_timeout_s": "Longest wait for a connection.",
    "feed.kite.send_timeout_s": "Longest wait until a subscription is sent.",
    "feed.kite.close_timeout_s": "Longest wait for a closing connection.",
    "feed.kite.backoff_start_s": "Most seconds before the first reconnect; the bound doubles with each one that fails.",
    "feed.kite.backoff_cap_s": "Where the doubling ends.",
    "feed.kite.rest_timeout_s": "Longest wait for an answer of the REST service.",
    "feed.kite.rest_attempts": "How often a REST call is tried in all.",
    "feed.kite.historical_per_s": "Most history calls a second; Kite answers 3.",
}
"""What stands in for a docstring where a setting's name says it all to a reader of the code."""


def docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the strings that stand under a model's fields, on one line each."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, below in itertools.pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


def settings_reference() -> str:
    """Write one table of markdown for each table of the configuration, after the keys that stand in none."""
    lines = ["### At the top of the file\n", "| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key in sorted(TOP_KEYS):
        lines.append(f"| `{key}` | list of paths | none | {docstrings(Settings)[key]} |")
    lines.append("")
    return "\n".join([*lines, *(line for name, model in TABLES.items() for line in _settings_table(name, model))])


def strategies_reference() -> str:
    """Write a table of indicators for each group, from the registry."""
    return "\n".join(line for group, title in GROUPS.items() for line in _indicator_table(group, title))


def _indicator_table(group: str, title: str) -> Iterator[str]:
    yield f"#### {title}\n"
    yield "| call | parts | needs | unit | value |"
    yield "| --- | --- | --- | --- | --- |"
    for row in INDICATORS.values():
        if row.group == group:
            parts = ", ".join(f"`.{name}`" for name in row.outputs) or "one number"
            units = ", ".join(UNITS[unit] for unit in row.units)
            told = f"{row.summary}; only its changes mean something" if row.cumulative else row.summary
            yield f"| `{call_of(row)}` | {parts} | {_bars(row)} | {units} | {told} |"
    yield ""


def functions_reference() -> str:
    """Write the table of the language's functions from its registry."""
    rows = ["| call | unit | value |", "| --- | --- | --- |"]
    for row in FUNCTIONS.values():
        unit = "a condition" if row.type is Type.BOOL else "that of `x`" if row.unit == "source" else row.unit
        rows.append(f"| `{function_call(row)}` | {unit} | {row.summary} |")
    rows.append(
        "| `opening_range(15).high`, `.low` | price | range of the day's first minutes; missing until they are over |"
    )
    return "\n".join(rows)


def names_reference() -> str:
    """Write the table of the language's names."""
    rows = ["| name | of | unit | value |", "| --- | --- | --- | --- |"]
    rows += [f"| `{row.name}` | {row.group} | {row.unit} | {row.summary} |" for row in NAMES.values()]
    return "\n".join(rows)


def worked_reference() -> str:
    """List the worked strategies that ship."""
    rows = ["| file | what it does |", "| --- | --- |"]
    for path in sorted((Path(__file__).parent.parent / "configs" / "strategies").glob("*.toml")):
        summary = load_strategy(path).strategy.summary
        rows.append(f"| [{path.stem}](../configs/strategies/{path.name}) | {summary} |")
    return "\n".join(rows)


def call_of(row: Indicator) -> str:
    """Write how an indicator is called: optional arguments in brackets, with their defaults."""
    if "source2" in row.inputs:
        arguments = ["source", "source2"]
    else:
        arguments = ["[source = close]"] if "source" in row.inputs else []
    arguments += [name if default is None else f"[{name} = {default}]" for name, default, _ in row.lookbacks]
    arguments += [f"[{name} = {default:g}]" for name, default, _, _ in row.numbers]
    return f"{row.name}({', '.join(arguments)})"


def _bars(row: Indicator) -> str:
    """Say how many bars there are before the first value, at the defaults (20 where there is none)."""
    periods = [20 if default is None else default for _, default, _ in row.lookbacks]
    count = row.warm_up(*periods) + 1
    return f"{count} bar{'s' * (count > 1)}" + (f" at {', '.join(map(str, periods))}" if periods else "")


def _settings_table(name: str, model: type[BaseModel]) -> Iterator[str]:
    told = docstrings(model)
    schema = model.model_json_schema()
    yield f"### `[{name}]`\n"
    yield " ".join((model.__doc__ or "").split()) + "\n"
    yield "| key | value | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for key, field in model.model_fields.items():
        text = told.get(key) or WORDS[f"{name}.{key}"]
        kind = _kind(schema["properties"][key])
        default = "required" if field.is_required() else _default(field)
        yield f"| `{key}` | {kind} | {default} | {text.replace('<', '&lt;')} |"
    yield ""


def _default(field: Any) -> str:
    if field.default_factory is not None:
        return "see right"
    value = field.default
    if value is None or value == {}:
        return "none"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    """Write a default as it would stand in the file."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case int() if abs(value) >= 10_000:
            return f"{value:_}"
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case _:
            return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _kind(schema: dict[str, Any]) -> str:
    """Say which values are accepted, out of JSON schema."""
    match schema:
        case {"anyOf": choices}:
            return " or ".join(_kind(choice) for choice in choices if choice != {"type": "null"})
        case {"const": value} | {"enum": [value]}:
            return f"`{_toml(value)}`"
        case {"enum": values}:
            return ", ".join(f"`{_toml(value)}`" for value in values)
        case {"$ref": _}:
            return "table"
        case {"type": "array", "prefixItems": items}:
            return f"[{', '.join(_kind(item) for item in items)}]"
        case {"format": ("path" | "date" | "date-time" | "password") as form}:
            return {"path": "path", "date": "date", "date-time": "date and time", "password": "secret text"}[form]
        case {"type": "array", "items": item}:
            return f"list of {_kind(item)}"
        case {"type": "integer" | "number" as kind}:
            return "whole number" * (kind == "integer") + "number" * (kind == "number") + _bounds(schema)
        case {"type": "boolean"}:
            return "`true`, `false`"
        case {"type": "object"}:
            return "table of numbers"
        case _:
            return "text"


def _bounds(schema: dict[str, Any]) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    words = [f"from {_number(low)}"] if low is not None else [f"above {_number(above)}"] if above is not None else []
    words += [f"to {_number(high)}"] if high is not None else [f"below {_number(below)}"] if below is not None else []
    return f" {' '.join(words)}" if words else ""


def _number(value: float) -> str:
    return "2^63" if value == 2**63 else _toml(int(value) if value == int(value) else value)


def metrics_reference() -> str:
    """Write the table of metrics."""
    rows = ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    for row in METRICS:
        labels = ", ".join(f"`{label}`" for label in row.labels) or "none"
        rows.append(f"| `{row.exported}` | {row.kind} | {labels} | {row.meaning} |")
    return "\n".join(rows)


def taxes_reference() -> str:
    """Write the dated rows of every charge but brokerage."""
    lines: list[str] = []
    for charge in CHARGES[:-1]:
        lines += [f"#### {CHARGE_TITLES[charge]}\n", "| from | exchange | segments | what | source |"]
        lines += ["| --- | --- | --- | --- | --- |", *_charge_rows(charge), ""]
    return "\n".join(lines)


def plans_reference() -> str:
    """Write the dated rows of every brokerage plan."""
    lines: list[str] = []
    for plan in PLANS:
        rows = _cells(lambda segment, plan=plan: rows_of("brokerage", "NSE", segment, plan), SEGMENTS["NSE"])
        lines += [
            f"#### `{plan}`\n",
            "| from | segments | an executed order | DP | source |",
            "| --- | --- | --- | --- | --- |",
        ]
        for row, segments in rows:
            dp = f"{row.values['dp_paise'] / 100:.2f}" if row.values.get("dp_paise") else ""
            lines.append(f"| {row.first} | {', '.join(segments)} | {_brokerage(row)} | {dp} | {row.source} |")
        lines.append("")
    return "\n".join(lines)


def square_off_reference() -> str:
    """Write by when positions under MIS are closed."""
    lines = ["| from | segments | the broker's | ours | source |", "| --- | --- | ---: | ---: | --- |"]
    for row in load_table("products")["square_off"]:
        minutes = f"{row['broker_minutes']} | {row['our_minutes']}"
        lines.append(f"| {row['from']} | {', '.join(row['segments'])} | {minutes} | {row['source']} |")
    return "\n".join(lines)


def _charge_rows(charge: str) -> Iterator[str]:
    exchanges = SEGMENTS if charge == "exchange" else {"BSE": SEGMENTS["BSE"]}
    for exchange, segments in exchanges.items():
        for row, of in _cells(lambda segment, exchange=exchange: rows_of(charge, exchange, segment), segments):
            where = exchange if charge == "exchange" else "both"
            told = "all" if charge in ("sebi", "gst") else ", ".join(of)
            yield f"| {row.first} | {where} | {told} | {_rates(charge, row)} | {row.source} |"


def _cells(find: Callable[[str], tuple[Row, ...]], segments: Sequence[str]) -> list[tuple[Row, list[str]]]:
    """Gather the segments that share a row, rows of one group of segments together and the oldest first."""
    found: dict[tuple[str, Any, str], tuple[Row, list[str]]] = {}
    for segment in segments:
        for row in find(segment):
            key = (row.source, row.first, repr(sorted(row.values.items())))
            found.setdefault(key, (row, []))[1].append(segment)
    return list(found.values())


def _rates(charge: str, row: Row) -> str:
    values = row.values
    match charge:
        case "stt":
            words = {"buy": "of the purchase", "sell": "of the sale", "exercise": "of intrinsic value, exercised",
                     "delivered": "of the value, settled in shares"}  # fmt: skip
            return "; ".join(f"{_percent(values[name])} {word}" for name, word in words.items() if values.get(name))
        case "exchange":
            fund = values.get("fund", 0)
            charged = f"{_crore(values['charge'])} a crore, each side"
            return f"{charged}, and {_crore(fund)} for the investor protection fund" if fund else charged
        case "sebi":
            return f"{_crore(values['rate'])} a crore, each side"
        case "gst":
            return f"{values['percent']} % of brokerage, exchange charges and SEBI fees"
        case _:
            return f"{_percent(values['buy'])} of the purchase"


def _brokerage(row: Row) -> str:
    rate, cap, floor = (row.values.get(name, 0) for name in ("rate", "cap_paise", "floor_paise"))
    delivered = (
        f"; {_percent(row.values['delivered'])} of the shares that a contract is settled in"
        if row.values.get("delivered")
        else ""
    )
    if cap == 0:
        return f"free{delivered}"
    if floor == cap:
        return f"{cap / 100:g} rupees{delivered}"
    most = f", at most {cap / 100:g} rupees" if cap < NO_CAP else ""
    least = f", at least {floor / 100:g}" if floor else ""
    return f"{_percent(rate)}{most}{least}{delivered}"


def _percent(billionths: int) -> str:
    return f"{billionths / 10**7:g} %"


def _crore(billionths: int) -> str:
    return f"{billionths / 100:,.2f}".removesuffix(".00") + " rupees"


def session_table() -> SessionTable:
    """Return our own session table."""
    return parse_table((FOLDER.parent / "atmand/market/data/sessions.toml").read_text("utf-8"), "sessions.toml")


def hours_reference() -> str:
    """Write what a day looks like in each segment, from each day of a change on."""
    rows = ["| from | segment | pre-open | continuous | closing auction | other | source |", "| --- " * 7 + "|"]
    for row in sorted(session_table().hours, key=lambda row: row.first):
        rows += [f"| {row.first} | `{segment}` | {_phases(row)} | {row.source} |" for segment in row.segments]
    return "\n".join(rows)


def _phases(row: Hours) -> str:
    def of(*phases: Phase) -> str:
        return _clocks([one for one in row.windows if one.phase in phases]) or "none"

    return " | ".join(
        (of(Phase.PRE_OPEN), of(Phase.CONTINUOUS), of(Phase.CLOSING_AUCTION), of(Phase.POST_CLOSE, Phase.BLOCK_DEAL))
    )


def _clocks(stretches: Sequence[Stretch]) -> str:
    """Write stretches as times of day, those that touch joined."""
    joined: list[list[Any]] = []
    for one in stretches:
        if joined and joined[-1][1] == one.opens:
            joined[-1][1] = one.closes
        else:
            joined.append([one.opens, one.closes])
    return ", ".join(f"{opens:%H:%M} to {closes:%H:%M}" for opens, closes in joined)


def special_reference() -> str:
    """Write the days with hours of their own."""
    rows = ["| day | kind | continuous | source |", "| --- " * 4 + "|"]
    for row in session_table().special:
        hours = "the ordinary hours" if row.windows is None else "not known yet"
        trades = [one for one in row.windows or () if one.phase is Phase.CONTINUOUS]
        rows.append(f"| {row.day:%Y-%m-%d %a} | {row.kind} | {_clocks(trades) or hours} | {row.source} |")
    return "\n".join(rows)


def closed_reference() -> str:
    """Write the weekdays without trading, and the trading days without settlement."""
    rows = ["| year | closed on | source |", "| --- " * 3 + "|"]
    for row in session_table().closed:
        days = ", ".join(f"{day:%m-%d}" for day in row.days)
        rows.append(f"| {row.days[0].year} | {days} | {row.source} |")
    rows += ["", "| year | trades, without settlement | source |", "| --- " * 3 + "|"]
    for row in session_table().settlement_closed:
        days = ", ".join(f"{day:%m-%d}" for day in row.days)
        rows.append(f"| {row.days[0].year} | {days} | {row.source} |")
    return "\n".join(rows)


def breaker_reference() -> str:
    """Write how long the market-wide circuit breaker halts everything."""
    rows = ["| from | index moved | before | halt | then pre-open | source |", "| --- " * 6 + "|"]
    for row in session_table().breaker:
        for step in row.steps:
            before = "any time" if step.before is None else f"{step.before:%H:%M}"
            halt = "rest of the day" if step.halt_minutes is None else f"{step.halt_minutes} min"
            pre_open = f"{step.pre_open_minutes} min" if step.pre_open_minutes else "none"
            rows.append(f"| {row.first} | {step.percent} % | {before} | {halt} | {pre_open} | {row.source} |")
    return "\n".join(rows)


PARTS: Final[dict[str, dict[str, Callable[[], str]]]] = {
    "configuration.md": {"settings": settings_reference},
    "costs.md": {"taxes": taxes_reference, "plans": plans_reference, "square-off": square_off_reference},
    "metrics.md": {"metrics": metrics_reference},
    "sessions.md": {
        "hours": hours_reference,
        "special": special_reference,
        "closed": closed_reference,
        "breaker": breaker_reference,
    },
    "strategies.md": {
        "indicators": strategies_reference,
        "functions": functions_reference,
        "names": names_reference,
        "worked": worked_reference,
    },
}
"""The generated parts of each page."""


def regenerated(page: str) -> str:
    """Return a page's text with its generated parts made anew; ValueError where a part's marks are missing."""
    text = (FOLDER / page).read_text("utf-8")
    for name, write in PARTS[page].items():
        opening, closing = f"<!-- generated: {name} -->", "<!-- end -->"
        pattern = re.compile(rf"{re.escape(opening)}.*?{re.escape(closing)}", re.DOTALL)
        text, count = pattern.subn(f"{opening}\n\n{write().strip()}\n\n{closing}".replace("\\", r"\\"), text)
        if count != 1:
            raise ValueError(f"{page}: {count} parts called {name!r}")
    return text


def main() -> None:
    """Write every page that has generated parts."""
    for page in PARTS:
        (FOLDER / page).write_text(regenerated(page), "utf-8")


if __name__ == "__main__":
    main()
