"""The verbs of `atmand`: arguments in, one call into the room that does the work, an exit code out.

Every heavy module is imported by the verb that needs it; `__main__` has set up signals and the compiler's cache.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import structlog
import typer

from atmand import __version__
from atmand.cli_ask import whatif, why_not
from atmand.cli_costs import costs
from atmand.cli_data import data_app
from atmand.cli_doctor import doctor
from atmand.cli_init import init
from atmand.cli_instruments import instruments_app, universe
from atmand.cli_journal import feed_app, journal_app
from atmand.cli_ledger import trades, why
from atmand.cli_logs import logs
from atmand.cli_operate import entries, exit_, reload
from atmand.cli_params import params_app
from atmand.cli_research import backtest, research_app
from atmand.cli_sessions import sessions
from atmand.cli_status import orders, positions, status
from atmand.cli_strategy import strategy_app
from atmand.cli_sweep import lookahead, sweep
from atmand.cli_tokens import token_app
from atmand.cli_words import (
    STYLE,
    BarsFile,
    Config,
    ConfigWord,
    CostsAsOf,
    Json,
    Speed,
    State,
    Values,
    assignments,
    bars_path,
    clock,
    data_of,
    day,
    duration,
    in_order,
    moment,
    print_csv,
    print_facts,
    print_json,
    print_lines,
    say,
    show,
    state_of,
    verb,
)
from atmand.errors import AtmandError, ExitCode

__all__ = ["app"]

app = typer.Typer(help="Trade Indian markets on paper, on one machine, from one journal.", **STYLE)
app.add_typer(journal_app, name="journal")
app.add_typer(feed_app, name="feed")
app.add_typer(params_app, name="params")
app.add_typer(strategy_app, name="strategy")
app.add_typer(token_app, name="token")
app.add_typer(instruments_app, name="instruments")
app.add_typer(research_app, name="research")
app.add_typer(data_app, name="data")
verb(app, "status", "atmand status --json")(status)
verb(app, "positions", "atmand positions --state ~/.local/state/atmand/demo")(positions)
verb(app, "orders", "atmand orders --json")(orders)
verb(app, "reload", "atmand reload --json")(reload)
verb(app, "exit", "atmand exit NSE:INFY --strategy rsi_macd")(exit_)
verb(app, "entries", "atmand entries off")(entries)
verb(app, "trades", "atmand trades --strategy rsi_macd --from 2026-07-06 --limit 20")(trades)
verb(app, "why", "atmand why 1042-3")(why)
verb(app, "sweep", "atmand sweep strategies/rsi_macd.toml --data bars.parquet --sobol 500 --walk-forward 60:20")(sweep)
verb(app, "lookahead", "atmand lookahead strategies/rsi_macd.toml --data bars.parquet")(lookahead)
verb(app, "why-not", "atmand why-not rsi_macd NSE:INFY --from 09:20 --to 11:00")(why_not)
verb(app, "whatif", "atmand whatif --set rsi_macd.rsi_low=40 --today")(whatif)
verb(app, "universe", "atmand universe rsi_macd --json")(universe)
verb(app, "init", "atmand init ~/trading")(init)
verb(app, "sessions", "atmand sessions --from 2026-10-15 --to 2026-11-12 --segment options")(sessions)
verb(app, "doctor", "atmand doctor --config atmand.toml --json")(doctor)
verb(app, "backtest", "atmand backtest strategies/rsi_macd.toml --data bars.parquet --from 2026-01-01 --json")(backtest)
verb(app, "costs", "atmand costs --date 2026-08-10 --exchange NSE --segment FUT BUY:65@24500 SELL:65@24600")(costs)
verb(app, "logs", "atmand logs -f --event trade_closed --event order_filled")(logs)


@app.callback()
def every_verb(context: typer.Context, config: Config = None) -> None:
    """Trade Indian markets on paper, on one machine, from one journal."""
    context.obj = config
    # Verbs print data on standard output; what the rooms log goes to the other one. `run` configures its log itself.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


@verb(app, "run", "atmand run --for 120s --speed 60")
def run(
    context: typer.Context,
    given: ConfigWord = None,
    config: Config = None,
    run_for: Annotated[
        Any, typer.Option("--for", help="Stop by itself after so long.", parser=duration, metavar="DURATION")
    ] = None,
    speed: Speed = None,
    bars: BarsFile = None,
    costs_as_of: CostsAsOf = None,
    state: State = None,
    port: Annotated[
        int | None, typer.Option(help="Port of page and API, on loopback; 0 takes a free one.", min=0, max=65_535)
    ] = None,
) -> int:
    """Run the daemon until it is told to stop.

    SIGTERM and Ctrl-C drain it, a second one ends it at once; SIGHUP reads the configuration again.
    """
    from atmand.logs import configure
    from atmand.settings import load

    simulator = {"speed": speed, "bars": bars and bars.absolute()}
    overrides: dict[str, Any] = {"simulator": {name: value for name, value in simulator.items() if value is not None}}
    if costs_as_of is not None:
        overrides["market"] = {"costs_as_of": costs_as_of}
    if state is not None:
        overrides["instance"] = {"state": state.absolute()}
    if port is not None:
        overrides["api"] = {"port": port}
    settings = load(given or config or context.obj, overrides)
    configure(settings.log, sys.stdout, settings.instance.state)
    from atmand import daemon

    return daemon.run(settings, run_for_ns=run_for)


@verb(app, "check", "atmand check configs/paper.toml")
def check(context: typer.Context, given: ConfigWord = None, config: Config = None, as_json: Json = False) -> int:
    """Check the configuration and its strategies, and print what holds, with secrets masked."""
    from atmand.history.actions import load_actions
    from atmand.lang.program import Deployment, generate
    from atmand.lang.strategy import load_strategy
    from atmand.lang.structure import compile_structure
    from atmand.lang.user_indicators import use_indicators
    from atmand.settings import load, redacted

    settings = load(given or config or context.obj)
    use_indicators(settings.indicators)
    refused = 0
    for strategy in settings.strategies.values():
        if strategy.enabled:
            try:
                file = load_strategy(strategy.file)
                generate([Deployment(file, strategy.account, strategy.params)])
                for warning in compile_structure(file).warnings:
                    say(f"warning: {warning}")
            except AtmandError as error:
                say(str(error))
                refused += 1
    try:
        load_actions(settings.bar_store)
    except AtmandError as error:
        say(str(error))
        refused += 1
    print_json(redacted(settings)) if as_json else print_facts(redacted(settings))
    if refused:
        return ExitCode.REFUSED
    say(f"{settings.path}: good")
    return ExitCode.DONE


@verb(app, "replay", "atmand replay 2026-07-06 --verify --from 09:15 --to 10:15")
def replay(
    context: typer.Context,
    replayed: Annotated[
        Any, typer.Argument(help="A day in the journal. Default: the newest.", parser=day, metavar="[DAY]")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Compare with the decisions that were recorded.")] = False,
    start: Annotated[Any, typer.Option("--from", help="From here, India's time.", parser=clock, metavar="TIME")] = None,
    end: Annotated[Any, typer.Option("--to", help="Up to here, India's time.", parser=clock, metavar="TIME")] = None,
    config: Config = None,
    state: State = None,
    as_json: Json = False,
) -> int:
    """Run a recorded day again; with --verify, exit 1 where a decision differs from the recorded one."""
    in_order(start, end)
    from atmand.replay import command

    result = command(state_of(context, config, state), day=replayed, verify=verify, start=start, end=end)
    show(result, as_json)
    return ExitCode.DIFFERENT if result.get("identical") is False else ExitCode.DONE


@verb(app, "eval", 'atmand eval "rsi(14) < level" --data bars.parquet --instrument INFY --set level=30 --json')
def evaluate(
    context: typer.Context,
    expression: Annotated[str, typer.Argument(help="An expression of the strategy language.", metavar="EXPR")],
    data: Annotated[
        Any,
        typer.Option(
            help="Bars: Parquet or CSV, a bar store's folder, or store: the configuration's.",
            parser=bars_path,
            metavar="BARS",
        ),
    ],
    instrument: Annotated[str | None, typer.Option(help="Only this one of the file's symbols.", metavar="NAME")] = None,
    values: Values = None,
    bar: Annotated[
        Any, typer.Option(help="Length of a bar. Default: the file's own.", parser=duration, metavar="DURATION")
    ] = None,
    as_json: Json = False,
) -> None:
    """Evaluate one expression over bars: a value a bar, as CSV or JSON lines."""
    params = assignments(values or [])
    from atmand.opening import use_indicators_of
    from atmand.research.evaluate import command

    use_indicators_of(context.obj)

    source = data_of(context.obj, data) or data
    rows = command(expression, data=source, instrument=instrument, params=params, bar_ns=bar)
    print_lines(rows) if as_json else print_csv(rows)


@verb(app, "sim", "atmand sim --seed 7 --port 8765 --speed 60")
def simulate(
    bars: BarsFile = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same market.", min=0, max=2**63 - 1)] = 7,
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65_535)] = 0,
    speed: Speed = "auto",
    start: Annotated[
        Any, typer.Option(help="Market time of the first moment.", parser=moment, metavar="TIME")
    ] = "2026-07-06T09:15:00+05:30",
) -> None:
    """Run the exchange simulator alone, on loopback, with the broker's own protocol.

    Standard output gets one JSON line with the port and what to log in with.
    """
    from atmand.sim.settings import SimSettings

    settings = SimSettings(bars=bars, seed=seed, port=port, speed=speed, start=start)
    try:
        _serve(settings)
    except OSError as error:
        raise AtmandError(
            f"port {port}", error.strerror or str(error), "take another one, or 0 for a free one"
        ) from None


@verb(app, "version", "atmand version --json")
def version(as_json: Json = False) -> None:
    """Print the version of atmand and of what its results depend on."""
    import platform
    from importlib import metadata

    libraries = {name: metadata.version(name) for name in ("numba", "numpy", "polars", "aiohttp")}
    facts = {"atmand": __version__, "python": platform.python_version(), **libraries, "machine": platform.platform()}
    if as_json:
        print_json(facts)
    else:
        print("\n".join(f"{name} {value}" for name, value in facts.items()))


def _serve(settings: Any) -> None:
    """Run the simulator until SIGTERM, Ctrl-C or its control socket stops it."""
    import asyncio
    import signal

    from atmand.sim.server import serve

    def ready(port: int) -> None:
        access = {name: getattr(settings, name).get_secret_value() for name in ("access_token", "control_token")}
        print_json({"event": "sim_ready", "port": port, "api_key": settings.api_key, **access})
        sys.stdout.flush()

    async def until_stopped() -> None:
        serving = asyncio.ensure_future(serve(settings, ready))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
        await asyncio.wait([serving])
        if not serving.cancelled():
            serving.result()

    asyncio.run(until_stopped())
