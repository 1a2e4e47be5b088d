"""One frozen tree of settings, composed from the rooms' own models and loaded from file, environment and secrets.

The command line loads it, the daemon re-reads it at SIGHUP. Layers, later ones win: the TOML file, the environment
(`ATMAND_SECTION__KEY`), files in the secrets directory (`section__key`), the command line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from atmand.api.settings import ApiSettings
from atmand.feed.kite_protocol import KiteFeedSettings
from atmand.history.settings import HISTORY, HistorySettings, RecordSettings
from atmand.journal.settings import JournalSettings
from atmand.logs import LogSettings, masked
from atmand.market.cost_table import DEFAULT_PLAN, PLANS
from atmand.market.sessions import calendar_with, use_calendar
from atmand.market.settings import InstrumentSettings
from atmand.portfolio import Capital, PortfolioSettings, given_share
from atmand.research.settings import ResearchSettings
from atmand.settings_errors import Layer, Problem, SettingsError, explain, missing_file, problem_at
from atmand.settings_layers import merged, read_layers
from atmand.start import builtin, default_state, find_configuration

__all__ = [
    "AccountSettings",
    "Change",
    "FeedSettings",
    "InstanceSettings",
    "LimitSettings",
    "MarketSettings",
    "Settings",
    "SettingsError",
    "SimulatorSettings",
    "StrategySettings",
    "builtin",
    "changes",
    "load",
    "redacted",
]

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_NAME_LENGTH: Final = 32
_Model = TypeVar("_Model", bound=BaseModel)
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _check_name(name: str) -> str:
    if len(name) > _NAME_LENGTH or not _NAME.fullmatch(name):
        raise PydanticCustomError(
            "name",
            "not a name",
            {"remedy": f"use lower-case letters, digits and single underscores, at most {_NAME_LENGTH}"},
        )
    return name


def _check_venue(venue: Any) -> Any:
    if venue == "live":
        raise PydanticCustomError(
            "venue", "live orders are not supported by this version", {"remedy": 'write venue = "paper"'}
        )
    return venue


def _check_latency(latency: tuple[int, int]) -> tuple[int, int]:
    if latency[0] > latency[1]:
        raise PydanticCustomError("latency", "the low end is above the high end", {"remedy": "write [low, high]"})
    return latency


def _check_plan(plan: str) -> str:
    if plan not in PLANS:
        raise PydanticCustomError(
            "brokerage", "no brokerage plan of that name", {"remedy": f"choose one of {', '.join(PLANS)}"}
        )
    return plan


Name = Annotated[str, AfterValidator(_check_name)]
Milliseconds = Annotated[int, Field(ge=0, le=60_000)]
Rupees = Annotated[int, Field(gt=0, le=10**11)]
"""Whole rupees at the edge; inside, money is paise."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class InstanceSettings(_Section):
    """Who this daemon is and where it keeps its state."""

    name: Name = "demo"
    """A name for logs and for the state directory."""
    state: Path = Field(default_factory=lambda known: default_state(known["name"]))
    """The state directory; one daemon at a time. Default ~/.local/state/atmand/<name>."""


class FeedSettings(_Section):
    """Where market data comes from."""

    kind: Literal["simulator", "kite"] = "simulator"
    """simulator (an embedded exchange) or kite (Zerodha's Kite Connect)."""
    kite: KiteFeedSettings | None = None
    """A table with at least api_key and access_token_file."""


class CorporateActionSettings(_Section):
    """One split or bonus of the embedded exchange's market."""

    symbol: str
    """The share's symbol."""
    ex_date: date
    """The first session with the new price, a trading day."""
    kind: Literal["split", "bonus"]
    """split: `new` shares for `old` ones; bonus: `new` more shares for `old` ones that are held."""
    new: int = Field(gt=0, le=100)
    old: int = Field(1, gt=0, le=100)


class SimulatorSettings(_Section):
    """The embedded exchange."""

    seed: int = Field(7, ge=0, lt=2**63)
    """An integer from 0; the same seed makes the same market."""
    start: AwareDatetime = datetime.fromisoformat("2026-07-06T09:15:00+05:30")
    """A date and time with its zone, such as 2026-07-06T09:15:00+05:30."""
    speed: Literal["auto"] | Annotated[float, Field(gt=0, le=86_400)] = "auto"
    """auto, or market seconds a second as a number above 0."""
    bars: Path | None = None
    """A Parquet or CSV file of one-minute bars to draw the market out of, instead of the seeded one."""
    past_sessions: int = Field(0, ge=0, le=30)
    """Sessions before the market's first that are traded at the first start, as bars, 0 to 30."""
    corporate_actions: tuple[CorporateActionSettings, ...] = ()
    """Splits and bonuses of its market: tables with `symbol`, `ex_date`, `kind`, `new` and `old`."""
    historical_per_second: float = Field(3.0, gt=0, le=100_000)
    """Historical requests a second that the embedded exchange answers, above 0."""

    @property
    def start_ns(self) -> int:
        """Market time of the first moment, ns UTC."""
        elapsed = self.start - _EPOCH
        return (elapsed.days * 86_400 + elapsed.seconds) * 10**9 + elapsed.microseconds * 1_000


class MarketSettings(_Section):
    """Assumptions that change decisions; they become fields of the SESSION record."""

    costs_as_of: date | None = None
    """A date whose cost tables are applied to days before the tables begin."""
    brokerage: Annotated[str, AfterValidator(_check_plan)] = DEFAULT_PLAN
    """The broker's tariff: zerodha, dhan, groww, or free, flat_20, percent to compare with (docs/costs.md)."""
    sessions_file: Path | None = None
    """A TOML file with what differs from the calendar: a special session, a holiday called off, a halt."""
    grace_ms: Milliseconds = 1_000
    """Milliseconds after its end at which a bar closes, 0 to 60000."""
    latency_ms: Annotated[tuple[Milliseconds, Milliseconds], AfterValidator(_check_latency)] = (50, 150)
    """[low, high]: milliseconds until a paper order reaches the market."""
    protection_bps: int = Field(100, ge=1, le=10_000)
    """How far past the touch a market order may fill, in basis points, 1 to 10000."""
    entry_wait_s: int = Field(30, ge=1, le=3_600)
    """Seconds after which an unfilled entry is cancelled, 1 to 3600."""
    stale_after_s: int = Field(60, ge=1, le=3_600)
    """Seconds of silence after which an instrument takes no entry, 1 to 3600."""

    @property
    def grace_ns(self) -> int:
        return self.grace_ms * 10**6

    @property
    def latency_ns(self) -> tuple[int, int]:
        return self.latency_ms[0] * 10**6, self.latency_ms[1] * 10**6

    @property
    def entry_wait_ns(self) -> int:
        return self.entry_wait_s * 10**9

    @property
    def stale_after_ns(self) -> int:
        return self.stale_after_s * 10**9


class AccountSettings(_Section):
    """An account that strategies trade in."""

    venue: Annotated[Literal["paper"], BeforeValidator(_check_venue)] = "paper"
    """paper: orders are matched inside atmand and none leaves it."""


class StrategySettings(_Section):
    """A strategy that runs, and with how much."""

    file: Path
    """The path of a strategy file."""
    account: str
    """The name of one of the accounts."""
    capital_rupees: Rupees | None = None
    """Whole rupees that the strategy may use, above 0; this or `capital` is set."""
    capital: Capital | None = None
    """"25%" of the account's equity as each session opens, or "weight": the document's share, else what is left."""
    enabled: bool = True
    """true or false; a strategy that is not enabled is not loaded."""
    on_change: Literal["run_off", "adopt", "flatten"] = "run_off"
    """Open positions when its rules change or it is removed: run_off (the old rules exit them), adopt, flatten."""
    params: dict[Name, float] = {}
    """Values for the parameters that the strategy file declares."""

    @property
    def capital_paise(self) -> int:
        return (self.capital_rupees or 0) * 100


class LimitSettings(_Section):
    """What no strategy may exceed; each limit holds for each book."""

    entries: bool = True
    """true or false; false opens no new position anywhere."""
    order_value_rupees: Rupees = 200_000
    """Most whole rupees one order may be worth, above 0."""
    position_value_rupees: Rupees = 500_000
    """Most whole rupees one position may be worth, above 0."""
    daily_loss_rupees: Rupees = 20_000
    """Loss of a day, in whole rupees, after which no position is opened, above 0."""
    open_positions: int = Field(10, ge=1, le=10_000)
    """Most positions open at once, 1 to 10000."""
    orders_a_day: int = Field(500, ge=1, le=1_000_000)
    """Most orders a day, 1 to 1000000."""

    @property
    def order_value_paise(self) -> int:
        return self.order_value_rupees * 100

    @property
    def position_value_paise(self) -> int:
        return self.position_value_rupees * 100

    @property
    def daily_loss_paise(self) -> int:
        return self.daily_loss_rupees * 100


class Settings(BaseSettings):
    """Everything that a configuration can say. Made by `load`; all paths in it are absolute."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, validate_default=False)

    instance: InstanceSettings = Field(default_factory=InstanceSettings)
    feed: FeedSettings = FeedSettings()
    simulator: SimulatorSettings = SimulatorSettings()
    market: MarketSettings = MarketSettings()
    accounts: dict[Name, AccountSettings] = {}
    strategies: dict[Name, StrategySettings] = {}
    indicators: tuple[Path, ...] = ()
    """Python files with indicators of your own; a relative path starts at the configuration file's folder."""
    limits: LimitSettings = LimitSettings()
    portfolio: PortfolioSettings = PortfolioSettings()
    instruments: InstrumentSettings = InstrumentSettings()
    journal: JournalSettings = JournalSettings()
    api: ApiSettings = ApiSettings()
    log: LogSettings = LogSettings()
    research: ResearchSettings = ResearchSettings()
    history: HistorySettings = HistorySettings()
    record: RecordSettings = RecordSettings()

    _path: Path = PrivateAttr(default=Path())
    _overrides: Mapping[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take nothing from the surroundings: `load` reads the layers, so that an error can name where it came from."""
        return (init_settings,)

    @property
    def path(self) -> Path:
        """The configuration file that these settings were loaded from."""
        return self._path

    @property
    def bar_store(self) -> Path:
        """Where the bar store is, or would be made."""
        return self.history.directory or self.instance.state / HISTORY

    def reload(self) -> Settings:
        """Load the same file, environment and overrides again; the daemon does so at SIGHUP."""
        return load(self._path, self._overrides)


def load(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Load and check the settings; `overrides` are nested tables of the command line, their paths absolute.

    Without a path: `ATMAND_CONFIG`, `./atmand.toml`, or the built-in demo. Relative paths in any layer are seen from
    the configuration file's folder. Raises SettingsError, one line for each problem. The calendar of the settings is in
    force from then on.
    """
    file = find_configuration(path)
    layers = read_layers(Settings, file, overrides or {})
    try:
        checked = Settings(**merged(layers))
    except ValidationError as error:
        raise SettingsError(explain(error, Settings, layers)) from None
    settings = _absolute(checked, file.absolute().parent)
    if problems := list(_contradictions(settings, layers)):
        raise SettingsError(problems)
    settings._path = file.absolute()
    settings._overrides = dict(overrides or {})
    _use_sessions(settings.market.sessions_file)
    return settings


def _use_sessions(file: Path | None) -> None:
    """Put the calendar in force that the settings describe; SessionError names a mistake in the user's file."""
    use_calendar(None if file is None else calendar_with(file.read_text("utf-8", "replace"), str(file)))


def redacted(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON-able tables with every secret masked."""
    shown: dict[str, Any] = masked("", settings.model_dump(mode="json"))
    return shown


class Change(NamedTuple):
    """One difference between two configurations, as it may be shown."""

    path: str
    old: Any
    new: Any
    live: bool
    """True: takes effect now. False: waits for a restart."""


def changes(old: Settings, new: Settings) -> list[Change]:
    """Compare two configurations leaf by leaf; a value that one of them lacks is None there."""
    before, after = dict(_leaves(old.model_dump())), dict(_leaves(new.model_dump()))
    found = []
    for path in sorted(before.keys() | after.keys()):
        was, now = before.get(path), after.get(path)
        if was != now:
            shown = masked(path[-1], was), masked(path[-1], now)
            found.append(Change(".".join(path), *shown, live=_is_live(path)))
    return found


def _is_live(path: tuple[str, ...]) -> bool:
    """Return whether the daemon applies a change of this setting without a restart."""
    if path[:2] == ("portfolio", "sectors"):
        return False  # they are part of a session's instruments
    live = ("accounts", "indicators", "limits", "portfolio", "research", "strategies")
    return path[0] in live or path == ("log", "level")


def _leaves(table: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*prefix, key))
        else:
            yield (*prefix, key), value


def _contradictions(settings: Settings, layers: list[Layer]) -> Iterator[Problem]:
    """Check what no single model can: that what one section names stands in another, or on disk."""
    if settings.feed.kind == "kite" and settings.feed.kite is None:
        remedy = "write [feed.kite] with api_key and access_token_file"
        yield problem_at(("feed", "kite"), layers, "not set", remedy)
    if settings.simulator.bars is not None:
        yield from missing_file(("simulator", "bars"), settings.simulator.bars, layers)
    for name in ("freeze", "members"):
        if (named := getattr(settings.instruments, name)) is not None:
            yield from missing_file(("instruments", name), named, layers)
    for place, file in enumerate(settings.instruments.shares):
        yield from missing_file(("instruments", "shares", str(place)), file, layers)
    if settings.market.sessions_file is not None:
        yield from missing_file(("market", "sessions_file"), settings.market.sessions_file, layers)
    for place, file in enumerate(settings.indicators):
        yield from missing_file(("indicators", str(place)), file, layers)
    for name, strategy in settings.strategies.items():
        if strategy.account not in settings.accounts:
            known = ", ".join(settings.accounts) or "none"
            what = f"no account is called {strategy.account!r}"
            remedy = f"write [accounts.{strategy.account}], or name one of: {known}"
            yield problem_at(("strategies", name, "account"), layers, what, remedy)
        if (strategy.capital is None) == (strategy.capital_rupees is None):
            what = "not set" if strategy.capital is None else "set beside capital"
            remedy = 'write capital_rupees = 500_000, or capital = "25%" of the account\'s equity, and not both'
            yield problem_at(("strategies", name, "capital_rupees"), layers, what, remedy)
        if strategy.capital is not None and settings.portfolio.capital_rupees is None:
            what = f"{strategy.capital} of an equity that is not known"
            remedy = "write [portfolio] capital_rupees: what the account began with"
            yield problem_at(("strategies", name, "capital"), layers, what, remedy)
        if strategy.enabled:
            yield from missing_file(("strategies", name, "file"), strategy.file, layers)
    yield from _given_too_much(settings, layers)


def _given_too_much(settings: Settings, layers: list[Layer]) -> Iterator[Problem]:
    """Refuse strategies that are given more than their account has; a weight waits for the document."""
    sums: dict[str, float] = {}
    whole = settings.portfolio.capital_rupees
    for name, strategy in settings.strategies.items():
        if whole is None or not strategy.enabled or strategy.capital == "weight":
            continue
        share = given_share(settings.portfolio, strategy.capital_rupees, strategy.capital)
        before = sums.get(strategy.account, 0.0)
        sums[strategy.account] = before + share
        if before <= 1.0 + 1e-9 < before + share:
            key = "capital_rupees" if strategy.capital is None else "capital"
            what = (
                f"the strategies of account {strategy.account} are given {round((before + share) * whole)} rupees "
                f"up to this one, and it has {whole}"
            )
            remedy = "give them less, or raise [portfolio] capital_rupees to what the account has"
            yield problem_at(("strategies", name, key), layers, what, remedy)


def _absolute(model: _Model, base: Path) -> _Model:
    """Return the model with every path in it absolute, seen from `base`."""
    return model.model_copy(update={name: _seen_from(base, value) for name, value in model})


def _seen_from(base: Path, value: Any) -> Any:
    match value:
        case Path():
            return base / value.expanduser()
        case BaseModel():
            return _absolute(value, base)
        case tuple():
            return tuple(_seen_from(base, inner) for inner in value)
        case dict():
            return {key: _seen_from(base, inner) for key, inner in value.items()}
        case _:
            return value
