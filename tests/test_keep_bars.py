"""A session's own bars in the store: folded from recorded frames, gaps left out or filled by candles, once."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from atmand.core.opening import SessionTerms, instruments_draft, session_draft
from atmand.core.records import GAP_HEAD, HISTORY_ROW, Kind, Source, body_of
from atmand.core.rings import history_draft
from atmand.history.scan import scan
from atmand.history.store import ROWS, Store
from atmand.journal.settings import JournalSettings
from atmand.journal.writer import JournalWriter
from atmand.keep_bars import keep, main
from atmand.market.instruments import Instrument
from atmand.market.sessions import Window, ns
from atmand.wiring import JOURNAL

DAY = date(2026, 7, 6)
SECOND = 10**9
OPEN = ns(DAY, "09:15")
CLOSE = ns(DAY, "15:30")
SHARE = Instrument(
    key="NSE:EQ:A", isin="", token=257, exchange="NSE", segment="EQ", symbol="A", name="A", price_scale=100, tick=5,
    lot=1,    freeze=0, lower_band=0, upper_band=0, tradable=True, sector="",
)  # fmt: skip
OPTION = replace(SHARE, key="NSE:OPT:A:2026-07-28:100:CE", segment="OPT", token=514, expiry=date(2026, 7, 28))


def packet(token: int, price: int, volume: int, time_ns: int, oi: int = 0) -> bytes:
    """Write one full-mode packet of Kite's wire; what is not given is zero."""
    words = [0] * 46
    words[0], words[1], words[4], words[12], words[15] = token, price, volume, oi, time_ns // SECOND
    return struct.pack(">46I", *words)


def frame(*packets: bytes) -> bytes:
    return struct.pack(">H", len(packets)) + b"".join(struct.pack(">H", len(one)) + one for one in packets)


class Recording:
    """A journal that is written record by record."""

    def __init__(self, state: Path, *, began: int = OPEN - 60 * SECOND, day: date = DAY) -> None:
        self.state = state
        self.writer = JournalWriter(state / JOURNAL, JournalSettings())
        terms = SessionTerms(day=day, windows=(Window(0, ns(day, "09:15"), ns(day, "15:30")),))
        for draft in (session_draft(terms), instruments_draft([(SHARE, 0), (OPTION, 0)])):
            self.put(draft.kind, draft.body, began, rows=draft.rows, version=draft.version)

    def put(self, kind: int, body: bytes, time_ns: int, rows: int = 0, version: int | None = None) -> None:
        self.writer.append(kind, time_ns, body, rows, version=version, source=int(Source.KITE))

    def ticks(self, *ticks: tuple[float, int, int], token: int = 257, oi: int = 0) -> None:
        """Record (seconds since the opening, price, volume of the day) ticks, a frame each."""
        for second, price, volume in ticks:
            at = OPEN + int(second * SECOND)
            self.put(Kind.FRAME, frame(packet(token, price, volume, at, oi)), at + SECOND // 10)

    def gap(self, first: int, last: int) -> None:
        head = np.zeros(1, GAP_HEAD)
        head["from_ns"], head["to_ns"] = OPEN + first * SECOND, OPEN + last * SECOND
        self.put(Kind.GAP, body_of(Kind.GAP, head), OPEN + last * SECOND)

    def candles(self, minutes: Sequence[int], to_minute: int) -> None:
        rows = np.zeros(len(minutes), HISTORY_ROW)
        rows["start_ns"] = OPEN + 60 * SECOND * np.array(minutes)
        rows["open"] = rows["high"] = rows["low"] = rows["close"] = 7_000
        rows["volume"] = 70
        draft = history_draft(rows, 60 * SECOND, OPEN + 60 * SECOND * to_minute)
        self.put(draft.kind, draft.body, OPEN + 60 * SECOND * to_minute, rows=draft.rows)

    def ended(self) -> None:
        self.put(Kind.TIMER, bytes(8), CLOSE + 2 * SECOND)
        self.writer.close()


def bars(store: Path, key: str = "NSE:EQ:A") -> list[tuple[int, ...]]:
    rows = scan(Store(store)).filter(pl.col("key") == key).sort("start_ns").collect()
    rows = rows.with_columns(minute=(pl.col("start_ns") - OPEN) // (60 * SECOND))
    return rows.select("minute", "open", "high", "low", "close", "volume", "oi").rows()


def test_frames_become_bars_with_the_volume_of_each_minute_and_open_interest(tmp_path: Path) -> None:
    day = Recording(tmp_path / "state")
    day.ticks((-30, 9_990, 0), (1, 10_000, 100), (20, 10_050, 150), (59, 9_995, 180), (61, 10_005, 200))
    day.ticks((58, 9_980, 170))  # overtaken: it widens its bar, and its volume was in the newer one's
    day.ticks((22_500, 1, 999))  # after the close
    day.ticks((5, 300, 65), (65, 310, 130), token=514, oi=6_500)
    day.ended()
    done = keep(tmp_path / "state", tmp_path / "store")
    assert (done["sessions"], done["rows"], done["added"], done["instruments"]) == ([20260706], 4, 4, 2)
    assert bars(tmp_path / "store") == [
        (0, 10_000, 10_050, 9_980, 9_995, 180, None),
        (1, 10_005, 10_005, 10_005, 10_005, 20, None),
    ]
    assert [row[4:] for row in bars(tmp_path / "store", OPTION.key)] == [(300, 65, 6_500), (310, 65, 6_500)]
    assert Store(tmp_path / "store").sources()[0]["format"] == "session"


def test_a_minute_with_a_gap_is_the_brokers_or_is_left_out(tmp_path: Path) -> None:
    day = Recording(tmp_path / "state")
    day.ticks((1, 10_000, 100), (61, 10_010, 200), (121, 10_020, 300), (181, 10_030, 400), (241, 10_040, 500))
    day.gap(70, 130)
    day.candles([0, 1, 5], to_minute=6)
    day.candles([6], to_minute=6)  # not over when it was fetched
    day.ended()
    keep(tmp_path / "state", tmp_path / "store")
    assert [(row[0], row[4], row[5]) for row in bars(tmp_path / "store")] == [
        (0, 10_000, 100),  # heard whole: the ticks count
        (1, 7_000, 70),
        (3, 10_030, 100),
        (4, 10_040, 100),
        (5, 7_000, 70),
    ]


def test_who_begins_late_does_not_know_the_first_minute(tmp_path: Path) -> None:
    day = Recording(tmp_path / "state", began=OPEN + 90 * SECOND)
    day.ticks((95, 10_000, 5_000), (121, 10_010, 5_100), (181, 10_020, 5_150))
    day.ended()
    keep(tmp_path / "state", tmp_path / "store")
    assert [(row[0], row[5]) for row in bars(tmp_path / "store")] == [(2, 100), (3, 50)]


def test_a_session_is_kept_once_when_it_has_ended_and_imported_bars_stay(tmp_path: Path) -> None:
    state, store = tmp_path / "state", tmp_path / "store"
    there = Store(store, create=True)
    imported = pl.DataFrame([("NSE:EQ:A", OPEN, 1, 1, 1, 1, 1, None, 100, 1)], schema=ROWS, orient="row")
    there.merge(imported, 60 * SECOND)
    day = Recording(state)
    day.ticks((1, 10_000, 100), (61, 10_010, 200))
    day.writer.close()
    assert keep(state, store)["sessions"] == []  # it is not over
    later = JournalWriter(state / JOURNAL, JournalSettings())
    later.append(Kind.TIMER, CLOSE + 2 * SECOND, bytes(8))
    later.close()
    done = keep(state, store)
    assert (done["sessions"], done["rows"], done["added"]) == ([20260706], 2, 1)
    assert [row[1] for row in bars(store)] == [1, 10_010]
    assert keep(state, store)["sessions"] == []


def test_the_child_tells_its_parent_what_went_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = Recording(tmp_path / "state")
    day.ticks((1, 10_000, 100))
    day.ended()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "mine.txt").write_text("x")
    assert main([str(tmp_path / "state"), str(tmp_path / "store")]) == 3
    assert "holds something else" in capsys.readouterr().err
