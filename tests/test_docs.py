"""The documentation beside the code: generated parts in step, every event told, commands that parse, whole links."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import shutil
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer
from pydantic import BaseModel

from atmand.__main__ import main
from atmand.cli import app
from atmand.core.jit import kernel_rows
from atmand.core.ticks import MAX_TICKS, TICK, decoded_skipped, decoded_ticks
from atmand.core.words import Reason
from atmand.errors import ExitCode
from atmand.lang.strategy import Parameter, Rules, SessionWindow, Size, Stop, Strategy, load_strategy
from atmand.market.tables import load_table
from atmand.settings import Settings, builtin, load

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in PAGES}

Events = dict[str, tuple[set[str], set[str]]]
"""Levels and keys of each event."""


def module_at(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = module_at(DOCS / "generate.py")


# Generated parts.


@pytest.mark.parametrize("page", generate.PARTS)
def test_generated_parts_are_in_step_with_the_code(page: str) -> None:
    assert generate.regenerated(page) == TEXTS[f"docs/{page}"], "run `python docs/generate.py`"


def test_every_table_of_the_settings_is_documented() -> None:
    sections = {name.split(".")[0] for name in generate.TABLES}
    assert sections | generate.TOP_KEYS == set(Settings.model_fields)


def test_words_stand_in_for_missing_docstrings_only() -> None:
    for path in generate.WORDS:
        table, _, key = path.rpartition(".")
        model = generate.TABLES[table]
        assert key in model.model_fields and key not in generate.docstrings(model), path


@pytest.mark.parametrize("model", [Strategy, SessionWindow, Parameter, Rules, Stop, Size], ids=lambda m: m.__name__)
def test_every_key_of_a_strategy_file_is_documented(model: type[BaseModel]) -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", TEXTS["docs/strategies.md"], re.MULTILINE))
    tables = {"session", "params", "signals", "entry", "exit", "stop", "size", "trade", "legs", "combined"}
    assert set(model.model_fields) - tables <= rows


def test_the_worked_example_is_the_file_that_ships() -> None:
    shipped = builtin("strategies/rsi_macd.toml").read_text("utf-8")
    bare = {re.sub(r"\s+#.*", "", line).strip() for line in shipped.splitlines()}
    example = TEXTS["docs/strategies.md"].split("## A whole example")[1].split("## Every key")[0]
    for block in re.findall(r"```toml\n(.*?)```", example, re.DOTALL):
        for line in block.splitlines():
            assert line in bare or line.startswith("universe = "), line
    assert load_strategy(builtin("strategies/rsi_macd.toml")).strategy.bar == "1m"


# Events.


class _Calls(ast.NodeVisitor):
    """Finds what one module logs: (event, level, keys)."""

    LEVELS = ("debug", "info", "warning", "error", "critical", "exception")

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[tuple[str, str, set[str]]] = []
        self.unknown: list[int] = []
        self._functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        self._aliases: dict[str, set[str]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                levels = {n.attr for n in ast.walk(node.value) if self._is_log(n)}  # type: ignore[attr-defined]
                if levels and not isinstance(node.value, ast.Call):
                    self._aliases[node.targets[0].id] = levels
        self.visit(tree)

    def _is_log(self, node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Attribute)
            and node.attr in self.LEVELS
            and isinstance(node.value, ast.Name)
            and node.value.id == "log"
        )

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        function = node.func
        keys = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
        if self._is_log(function):
            assert isinstance(function, ast.Attribute)
            self._add(node, {function.attr}, keys)
        elif isinstance(function, ast.Name) and function.id in self._aliases:
            self._add(node, self._aliases[function.id], keys)
        elif isinstance(function, ast.Attribute) and function.attr == "_say":
            levels = {k.value.value for k in node.keywords if k.arg == "level" and isinstance(k.value, ast.Constant)}
            self._add(node, levels or {"info"}, (keys - {"level"}) | self._shared_keys())
        elif isinstance(function, ast.Name) and function.id == "_stamped" and node.args:
            self._add_stamped(node)

    def _shared_keys(self) -> set[str]:
        """Keys that `_say` adds to every event."""
        for node in ast.walk(self._functions["_say"]):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Call):
                return {keyword.arg for keyword in node.keywords if keyword.arg is not None}
        raise AssertionError("_say logs nothing")

    def _add_stamped(self, node: ast.Call) -> None:
        """Take an event that the log room writes itself: its keys are those of a dict, given or named."""
        if not isinstance(node.args[0], ast.Constant):
            return
        level = node.args[1].value if isinstance(node.args[1], ast.Constant) else "any"
        dicts = (
            [node.args[2]]
            if isinstance(node.args[2], ast.Dict)
            else [
                assigned.value
                for function in self._functions.values()
                if node in ast.walk(function)
                for assigned in ast.walk(function)
                if isinstance(assigned, ast.AnnAssign) and isinstance(assigned.value, ast.Dict)
            ]
        )
        keys = {
            key.value
            for table in dicts
            if isinstance(table, ast.Dict)
            for key in table.keys
            if isinstance(key, ast.Constant)
        }
        self._add(node, {str(level)}, {str(key) for key in keys} - {"room"})

    def _add(self, node: ast.Call, levels: set[str], keys: set[str]) -> None:
        event = node.args[0]
        choices = [event.body, event.orelse] if isinstance(event, ast.IfExp) else [event]
        for choice in choices:
            if not (isinstance(choice, ast.Constant) and isinstance(choice.value, str)):
                self.unknown.append(node.lineno)
                continue
            for level in levels:
                self.found.append((choice.value, "error" if level == "exception" else level, keys))


def logged_events() -> Events:
    events: Events = defaultdict(lambda: (set(), set()))
    for file in (ROOT / "atmand").rglob("*.py"):
        calls = _Calls(ast.parse(file.read_text("utf-8")))
        assert not calls.unknown, f"{file}: an event's name must be a constant, lines {calls.unknown}"
        for event, level, keys in calls.found:
            events[event][0].add(level)
            events[event][1].update(keys)
    return dict(events)


def told_events() -> Events:
    events: Events = {}
    for line in TEXTS["docs/events.md"].splitlines():
        row = re.fullmatch(r"\| `(\w+)` \| ([\w, ]+) \| (.*?) \| .+ \|", line)
        if row:
            assert row[1] not in events, f"{row[1]} is told twice"
            events[row[1]] = (set(row[2].split(", ")), set(re.findall(r"`(\w+)`", row[3])))
    return events


def test_every_event_is_told_with_its_levels_and_keys_and_no_other() -> None:
    logged, told = logged_events(), told_events()
    assert logged.keys() - told.keys() == set(), "logged, but not in docs/events.md"
    assert told.keys() - logged.keys() == set(), "in docs/events.md, but never logged"
    assert {name: logged[name] for name in logged} == told


def test_every_reason_is_told() -> None:
    told = re.findall(r"^\| `(\w+)` \|", TEXTS["docs/events.md"].split("## Reasons")[1], re.MULTILINE)
    assert sorted(told) == sorted(reason.name.lower() for reason in Reason)


def test_every_name_of_an_event_is_snake_case() -> None:
    names = {name for event, (_, keys) in logged_events().items() for name in {event, *keys}}
    assert [name for name in names if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)] == []


# Commands.


def commands() -> Iterator[tuple[str, str, bool]]:
    """Yield (page, command, whole): whole ones stand in a block of code, the others are named in a sentence."""
    for page, text in TEXTS.items():
        for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL):
            for line in block.splitlines():
                if line.startswith("atmand "):
                    yield page, line, True
        for line in re.findall(r"`(atmand [^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            yield page, line, False


@pytest.mark.parametrize(("page", "line", "whole"), sorted(set(commands())))
def test_every_command_of_the_documentation_parses(
    page: str, line: str, whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(line)[1:]
    command: Any = typer.main.get_command(app)
    path = []
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words[0]]
        path.append(words.pop(0))
    assert path and not hasattr(command, "commands"), f"{page}: {line}: no such verb"
    assert main([*path, "--help"]) == ExitCode.DONE
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
    if whole:
        shutil.copytree(ROOT / "configs", tmp_path / "configs")
        (tmp_path / "my_bars.csv").touch()
        monkeypatch.chdir(tmp_path)
        assert command.make_context(path[-1], words).params


# Words.


@pytest.mark.parametrize("page", TEXTS)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: str) -> None:
    bare = re.sub(r"```.*?```", "", TEXTS[page], flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", bare):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{page}: {target}"


@pytest.mark.parametrize("page", TEXTS)
def test_no_page_names_a_machine_or_a_package_host(page: str) -> None:
    wrong = r"(?<![\w.~])/(?:work|root|home/\w|tmp|mnt)/|pypi\.org|pythonhosted|anaconda\.org|proxy\.golang"
    assert [line for line in TEXTS[page].splitlines() if re.search(wrong, line)] == []


def test_every_setting_that_a_page_names_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"{table}.{key}" for table, model in generate.TABLES.items() for key in model.model_fields}
    sections = {name.split(".")[0] for name in generate.TABLES}
    for page, text in TEXTS.items():
        for name in re.findall(r"`((?:[a-z]+)\.(?:[a-zA-Z_]+\.)?[a-z_]+)`", text):
            if name.split(".")[0] in sections and not name.endswith((".py", ".toml", ".md")):
                assert name in known, f"{page}: {name}"


# Examples of docs/extending.md, run as they are written.


def example(title: str) -> str:
    """Return the Python block that stands under a heading of docs/extending.md."""
    section = TEXTS["docs/extending.md"].split(f"\n## {title}\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return str(block)


def test_the_example_indicator_runs_from_a_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from atmand.lang.user_indicators import use_indicators
    from atmand.research import evaluate

    file = tmp_path / "my_indicators.py"
    file.write_text(example("An indicator"))
    rng = np.random.default_rng(1)
    closes = np.round(1000 * np.exp(np.cumsum(rng.normal(0, 0.002, 120))), 2)
    lows, highs = closes - np.round(rng.uniform(0, 2, 120), 2), closes + 1
    minutes = [f"2026-07-06 {9 + (15 + i) // 60:02}:{(15 + i) % 60:02}:00+05:30" for i in range(120)]
    rows = [
        f"INFY,{at},{p:.2f},{h:.2f},{low:.2f},{p:.2f},100"
        for at, p, h, low in zip(minutes, closes, highs, lows, strict=True)
    ]
    data = tmp_path / "bars.csv"
    data.write_text("\n".join(["symbol,ts,open,high,low,close,volume", *rows]))
    use_indicators([file])
    try:
        values = list(evaluate.command("range_weighted(n, 1.5)", data=data, instrument=None, params={"n": 20.0}))
    finally:
        use_indicators([])
    mine = np.array([np.nan if found["value"] is None else found["value"] for found in values])
    typical, weight = (highs + lows + closes) / 3, np.maximum(highs - lows, 1.5)
    sums = [np.convolve(column, np.ones(20))[19:120] for column in (typical * weight, weight)]
    assert np.isnan(mine[:19]).all()
    np.testing.assert_allclose(mine[19:], sums[0] / sums[1], rtol=1e-9)


def test_the_example_decoder_reads_its_packets_and_skips_a_torn_one(tmp_path: Path) -> None:
    file = tmp_path / "example_feed.py"
    file.write_text(example("A feed"))
    module = module_at(file)
    ticks = kernel_rows(np.zeros(MAX_TICKS, TICK))
    packets = np.array([[408065, 150_005, 700, 1_783_309_500], [738561, 127_080, 0, 0]], ">u4").tobytes()
    result = int(module.decode(packets + b"torn", ticks))
    assert (decoded_ticks(result), decoded_skipped(result)) == (2, 1)
    assert ticks["token"][:2].tolist() == [408065, 738561]
    assert ticks["last_price"][:2].tolist() == [150_005, 127_080]
    assert ticks["exchange_ns"][0] == 1_783_309_500 * 10**9
    assert int(module.decode(b"", ticks)) == 0


def test_the_example_cost_row_has_the_keys_of_the_table() -> None:
    section = TEXTS["docs/extending.md"].split("## A fact of the market")[1]
    (row,) = tomllib.loads(re.findall(r"```toml\n(.*?)```", section, re.DOTALL)[0])["brokerage"]
    same = [old for old in load_table("costs")["brokerage"] if old["segments"] == row["segments"]]
    assert row.keys() == same[0].keys()
    assert row["plan"] == same[0]["plan"]


def test_the_configurations_that_pages_link_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(ROOT / "configs/demo.toml").feed.kind == "simulator"
    monkeypatch.setenv("ATMAND_FEED__KITE__API_KEY", "none")
    assert load(ROOT / "configs/paper.toml").feed.kind == "kite"
