"""The numbers for Prometheus: what the daemon measures, and the one table that names, explains and reads them.

`docs/metrics.md` is generated from the table. A scrape costs one `Source.measures()` on the loop; the text is made in
a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, Literal

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["METRICS", "BookMeasures", "Histogram", "Measures", "Scrape", "exposition"]


@dataclass(frozen=True)
class Histogram:
    """Counts between bounds: `counts` has one more than `bounds`, for what is above the last."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float


@dataclass(frozen=True)
class BookMeasures:
    """An account, or a strategy's book."""

    equity_paise: int
    day_profit_paise: int
    costs_paise: int
    positions: int
    trades: int
    drawdown: float


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Everything that is exported; None where there is nothing to say."""

    version: str
    instance: str
    market: str
    phase: Literal["starting", "running", "draining"]
    uptime_s: float
    sequence: int
    market_time_ns: int
    speed: float | None
    loop_lag: Histogram | None
    """How late the loop's timer was, in seconds."""
    apply: Histogram | None
    """Seconds that the core took to apply a market record."""
    entries_allowed: bool
    feed_connected: bool
    feed_instruments: int
    feed_ticks: int
    feed_last_tick_age_s: float | None
    feed_skipped_packets: int
    feed_skipped_frames: int
    feed_late_ticks: int
    feed_unknown_tokens: int
    feed_connects: int
    journal_appended: int
    journal_written: int
    journal_durable: int
    journal_waiting_bytes: int
    journal_bytes: int
    journal_free_bytes: int
    journal_failed: bool
    ledger_sequence: int
    ledger_waiting_rows: int
    ledger_failed: bool
    bars: int
    orders: int
    fills: int
    refused: int
    params_seq: int
    params_refused: int
    reloads_ok: int
    reloads_refused: int
    accounts: Mapping[str, BookMeasures]
    strategies: Mapping[str, BookMeasures]


@dataclass(frozen=True)
class Scrape:
    """One scrape: the daemon's measures and the API's own."""

    measures: Measures
    health: Mapping[str, bool]
    streams: int
    requests: Mapping[int, int] = field(default_factory=dict)
    refusals: Mapping[str, int] = field(default_factory=dict)
    """Requests without a token that was good for them, by reason."""
    writes: Mapping[str, int] = field(default_factory=dict)
    """Signals and commands that were recorded."""


_Sample = tuple[Sequence[str], float | int | Histogram | None]


@dataclass(frozen=True)
class _Metric:
    """A row of the table. A counter's name is written without `_total`, which the client library adds."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    read: Callable[[Scrape], Iterable[_Sample]]
    labels: tuple[str, ...] = ()

    @property
    def exported(self) -> str:
        """The name as Prometheus sees it."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def family(self, scrape: Scrape) -> Metric:
        samples = [(labels, value) for labels, value in self.read(scrape) if value is not None]
        if self.kind == "histogram":
            histograms = HistogramMetricFamily(self.name, self.meaning, labels=self.labels)
            for labels, value in samples:
                assert isinstance(value, Histogram)
                histograms.add_metric(labels, _buckets(value), value.sum)
            return histograms
        family = (CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily)(
            self.name, self.meaning, labels=self.labels
        )
        for labels, value in samples:
            assert not isinstance(value, Histogram)
            family.add_metric(labels, value)
        return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    names = [*(f"{bound:g}" for bound in histogram.bounds), "+Inf"]
    return list(zip(names, accumulate(map(float, histogram.counts)), strict=True))


def _one(kind: Literal["counter", "gauge", "histogram"], name: str, field: str, meaning: str) -> _Metric:
    """Make a row that exports one field of the measures as it is."""
    return _Metric(name, kind, meaning, lambda scrape: [((), getattr(scrape.measures, field))])


def _books(kind: Literal["counter", "gauge"], what: str, field: str, meaning: str) -> Iterator[_Metric]:
    """Make two rows: a figure of each account, and of each strategy's book."""
    for label, of in (("account", "accounts"), ("strategy", "strategies")):

        def read(scrape: Scrape, of: str = of) -> Iterable[_Sample]:
            return [((name,), getattr(book, field)) for name, book in getattr(scrape.measures, of).items()]

        yield _Metric(f"atmand_{label}_{what}", kind, f"{meaning}, of each {label}.", read, (label,))


_PHASES: Final = ("starting", "running", "draining")

METRICS: Final[tuple[_Metric, ...]] = (
    _Metric(
        "atmand_build_info",
        "gauge",
        "Always 1; the labels say which program this is.",
        lambda s: [((s.measures.version, s.measures.instance, s.measures.market), 1)],
        ("version", "instance", "market"),
    ),
    _Metric(
        "atmand_phase",
        "gauge",
        "1 for the phase that the daemon is in: starting, running or draining.",
        lambda s: [((phase,), int(phase == s.measures.phase)) for phase in _PHASES],
        ("phase",),
    ),
    _Metric(
        "atmand_health",
        "gauge",
        "1 where the health resource of that name answers 200.",
        lambda s: [((name,), int(well)) for name, well in s.health.items()],
        ("resource",),
    ),
    _one("gauge", "atmand_uptime_seconds", "uptime_s", "Seconds since the start."),
    _one("counter", "atmand_records", "sequence", "The journal's last sequence that the core has applied."),
    _Metric(
        "atmand_market_time_seconds",
        "gauge",
        "The market's time, as seconds since 1970 UTC.",
        lambda s: [((), s.measures.market_time_ns / 1e9)],
    ),
    _one("gauge", "atmand_market_speed_ratio", "speed", "Market seconds a second; absent with the real market."),
    _one("histogram", "atmand_loop_lag_seconds", "loop_lag", "How late the event loop's timer was."),
    _one("histogram", "atmand_apply_seconds", "apply", "How long the core took to apply a market record."),
    _one("gauge", "atmand_entries_allowed", "entries_allowed", "1 where new positions may be opened."),
    _one("gauge", "atmand_feed_connected", "feed_connected", "1 where market data is being received."),
    _one("gauge", "atmand_feed_instruments", "feed_instruments", "Instruments that are subscribed."),
    _one("counter", "atmand_feed_ticks", "feed_ticks", "Ticks received."),
    _one("gauge", "atmand_feed_age_seconds", "feed_last_tick_age_s", "Seconds since the last tick."),
    _one("counter", "atmand_feed_skipped_packets", "feed_skipped_packets", "Packets that could not be decoded."),
    _one("counter", "atmand_feed_skipped_frames", "feed_skipped_frames", "Frames dropped on overload."),
    _one("counter", "atmand_feed_late_ticks", "feed_late_ticks", "Ticks that came after their bar had closed."),
    _one("counter", "atmand_feed_unknown_tokens", "feed_unknown_tokens", "Ticks of instruments that nobody asked for."),
    _one("counter", "atmand_feed_connects", "feed_connects", "Connections that came about."),
    _one("gauge", "atmand_journal_appended_sequence", "journal_appended", "Last sequence appended in memory."),
    _one("gauge", "atmand_journal_written_sequence", "journal_written", "Last sequence given to the system."),
    _one("gauge", "atmand_journal_durable_sequence", "journal_durable", "Last sequence that the disk holds."),
    _one("gauge", "atmand_journal_waiting_bytes", "journal_waiting_bytes", "Bytes that wait to be written."),
    _one("gauge", "atmand_journal_bytes", "journal_bytes", "Size of all segments."),
    _one("gauge", "atmand_journal_free_bytes", "journal_free_bytes", "Free space of the journal's disk."),
    _one("gauge", "atmand_journal_failed", "journal_failed", "1 where the disk refuses records."),
    _one("gauge", "atmand_ledger_sequence", "ledger_sequence", "Last sequence that the ledger's database holds."),
    _one("gauge", "atmand_ledger_waiting_rows", "ledger_waiting_rows", "Rows that wait for the ledger's database."),
    _one("gauge", "atmand_ledger_failed", "ledger_failed", "1 where the ledger's database refuses rows."),
    _one("gauge", "atmand_session_bars", "bars", "Bars closed in this session."),
    _one("counter", "atmand_orders", "orders", "Orders that the books have made, a simulated past included."),
    _one("counter", "atmand_fills", "fills", "Fills that the books have had, a simulated past included."),
    _one("counter", "atmand_refused_entries", "refused", "Entries that a check refused, a simulated past included."),
    _one("gauge", "atmand_params_seq", "params_seq", "Number of the parameter document in force."),
    _one("counter", "atmand_params_refused", "params_refused", "Parameter documents that were refused."),
    _Metric(
        "atmand_reloads",
        "counter",
        "Reloads of the configuration, by result: ok or refused.",
        lambda s: [(("ok",), s.measures.reloads_ok), (("refused",), s.measures.reloads_refused)],
        ("result",),
    ),
    *_books("gauge", "equity_paise", "equity_paise", "Equity"),
    *_books("gauge", "day_profit_paise", "day_profit_paise", "Profit after costs since the day's opening"),
    *_books("gauge", "costs_paise", "costs_paise", "Costs paid"),
    *_books("gauge", "positions", "positions", "Open positions"),
    *_books("gauge", "trades", "trades", "Closed trades"),
    *_books("gauge", "drawdown_ratio", "drawdown", "How far equity is below its highest, from 0 to 1"),
    _Metric("atmand_api_streams", "gauge", "Pages that listen.", lambda s: [((), s.streams)]),
    _Metric(
        "atmand_api_requests",
        "counter",
        "Requests answered, by status code.",
        lambda s: [((str(code),), count) for code, count in sorted(s.requests.items())],
        ("code",),
    ),
    _Metric(
        "atmand_api_auth_failures",
        "counter",
        "Requests that were not let in, by reason: missing, unknown, expired, scope or source.",
        lambda s: [((reason,), count) for reason, count in sorted(s.refusals.items())],
        ("reason",),
    ),
    _Metric(
        "atmand_api_writes",
        "counter",
        "Requests that were recorded, by kind: signal or command.",
        lambda s: [((kind,), count) for kind, count in sorted(s.writes.items())],
        ("kind",),
    ),
)
"""Every metric. The process's own (`process_resident_memory_bytes` and others) are the client library's."""


class _Collector(Collector):
    def __init__(self, scrape: Scrape) -> None:
        self._scrape = scrape

    def collect(self) -> Iterator[Metric]:
        return (metric.family(self._scrape) for metric in METRICS)


def exposition(scrape: Scrape) -> bytes:
    """Write a scrape in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(scrape))
    ProcessCollector(registry=registry)
    return generate_latest(registry)
