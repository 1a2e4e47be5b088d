"""The verbs of strategies: `atmand strategy`. Verbs that tell the running daemon are in `cli_operate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atmand.cli_words import STYLE, Config, Json, print_facts, print_json, print_rows, say, verb
from atmand.errors import AtmandError, ExitCode, UsageError

if TYPE_CHECKING:
    from atmand.lang.structure import Structure

__all__ = ["strategy_app"]

strategy_app = typer.Typer(help="Look after strategies.", **STYLE)

Files = Annotated[list[Path], typer.Argument(help="Strategy files.", metavar="FILE...")]
_DEFAULT = "rsi_macd"
_MINUTE_NS = 60_000_000_000


@verb(strategy_app, "new", "atmand strategy new my_breakout --template opening_range")
def new(
    name: Annotated[str | None, typer.Argument(help="What the strategy is to be called.", metavar="[NAME]")] = None,
    template: Annotated[
        str | None, typer.Option("--template", help=f"The worked strategy to begin with. Default: {_DEFAULT}.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Write a strategy file that works and can be changed; without a name, list the worked ones to begin with."""
    from atmand.hints import did_you_mean
    from atmand.lang.strategy import is_usable_name, load_strategy, parse_strategy

    templates = {path.stem: path for path in _shipped()}
    if name is None:
        rows = [{"template": stem, "summary": load_strategy(path).strategy.summary} for stem, path in templates.items()]
        print_json(rows) if as_json else print_rows(("template", "summary"), rows)
        return ExitCode.DONE
    chosen = template or _DEFAULT
    if chosen not in templates:
        raise UsageError(
            f"--template {chosen}", "no such strategy", did_you_mean(chosen, templates, "atmand strategy new")
        )
    if not is_usable_name(name):
        raise UsageError(name, "cannot name a strategy", "use lower case letters, digits and _, at most 31")
    path = Path(f"{name}.toml")
    text = templates[chosen].read_text().replace(f'name = "{chosen}"', f'name = "{name}"', 1)
    parse_strategy(text, str(path))
    try:
        with path.open("x") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(str(path), error.strerror or "cannot be written", "choose another name or folder") from None
    print_json({"file": str(path), "template": chosen}) if as_json else say(f"{path}: made of {chosen}")
    return ExitCode.DONE


@verb(strategy_app, "check", "atmand strategy check strategies/*.toml")
def check(context: typer.Context, files: Files, config: Config = None, as_json: Json = False) -> int:
    """Check strategy files: names, units, look-backs, and rules that are hardly meant, each with its place."""
    from atmand.opening import use_indicators_of

    use_indicators_of(config or context.obj)
    answers = [_checked(path) for path in files]
    if as_json:
        print_json(answers)
    else:
        for answer in answers:
            for warning in answer["warnings"]:
                say(f"warning: {warning}")
            say(answer["error"] or f"{answer['file']}: good, decides after {answer['warm_bars']} bars")
    return ExitCode.REFUSED if any(answer["error"] for answer in answers) else ExitCode.DONE


@verb(strategy_app, "explain", "atmand strategy explain strategies/rsi_macd.toml")
def explain(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A strategy file.", metavar="FILE")],
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Print the code that is made of a strategy, each line under its expression, and what it keeps."""
    from atmand.opening import use_indicators_of

    use_indicators_of(config or context.obj)
    structure, facts = _explained(file)
    if as_json:
        print_json({**facts, "source": structure.explained})
    else:
        print(structure.explained)
        print_facts(facts)
    return ExitCode.DONE


def _shipped() -> list[Path]:
    from atmand.start import builtin

    return sorted(builtin("strategies").glob("*.toml"))


def _checked(path: Path) -> dict[str, Any]:
    from atmand.lang.strategy import load_strategy
    from atmand.lang.structure import compile_structure, warm_up_bars

    answer: dict[str, Any] = {"file": str(path), "error": None, "warnings": [], "warm_bars": None}
    try:
        file = load_strategy(path)
        structure = compile_structure(file)
    except AtmandError as error:
        return {**answer, "error": str(error)}
    values = {name: parameter.default for name, parameter in file.strategy.params.items()}
    return {**answer, "warnings": list(structure.warnings), "warm_bars": warm_up_bars(structure, values)[0]}


def _explained(path: Path) -> tuple[Structure, dict[str, Any]]:
    from atmand.lang.strategy import load_strategy
    from atmand.lang.structure import compile_structure, warm_up_bars

    file = load_strategy(path)
    structure = compile_structure(file)
    values = {name: parameter.default for name, parameter in file.strategy.params.items()}
    warm, fetch = warm_up_bars(structure, values)
    compiled = structure.compiled
    return structure, {
        "file": str(path),
        "structure": structure.name,
        "bars_before_the_first_decision": warm,
        "bars_fetched": fetch,
        "ring_bars": structure.plan.ring_bars,
        "streams": [
            {
                "instrument": plan.instrument or "its own",
                "minutes": plan.period_ns // _MINUTE_NS,
                "ring_bars": plan.ring_bars,
            }
            for plan in structure.plan.streams
        ],
        "state_bytes": structure.plan.state_bytes,
        "parameters_that_fold_again": sorted(compiled.lookbacks),
        "external_signals": compiled.signals,
        "units": {
            **{name: value.unit for name, value in compiled.main.signals.items() if not value.is_bool},
            **{kept.local: kept.value.unit for kept in compiled.main.kept.values() if not kept.value.is_bool},
        },
    }  # fmt: skip
