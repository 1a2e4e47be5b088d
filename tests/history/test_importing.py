"""Every format that is imported: the same day out of each, malformed rows listed, a folder taken whole."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from atmand.errors import AtmandError
from atmand.history.bar_files import Hints
from atmand.history.bars import HistoryError, load_bars
from atmand.history.formats import load_file
from atmand.history.importing import import_files
from atmand.history.rows import key_of
from atmand.history.scan import scan
from atmand.history.store import Merged, Store
from atmand.market.sessions import ns

MIDNIGHT = ns(date(2026, 7, 6), "00:00")
UDIFF = (
    "TradDt,BizDt,Sgmt,Src,FinInstrmTp,FinInstrmId,ISIN,TckrSymb,SctySrs,XpryDt,FininstrmActlXpryDt,StrkPric,OptnTp,"
    "FinInstrmNm,OpnPric,HghPric,LwPric,ClsPric,LastPric,PrvsClsgPric,UndrlygPric,SttlmPric,OpnIntrst,ChngInOpnIntrst,"
    "TtlTradgVol,TtlTrfVal,TtlNbOfTxsExctd,SsnId,NewBrdLotQty,Rmks,Rsvd1,Rsvd2,Rsvd3,Rsvd4"
)


def udiff(**values: Any) -> str:
    row = {"TradDt": "2026-07-06", "Src": "NSE", **values}
    return ",".join(str(row.get(name, "")) for name in UDIFF.split(","))


def share(symbol: str, series: str = "EQ", **values: Any) -> str:
    prices = {"OpnPric": "100.05", "HghPric": "110.00", "LwPric": "99.95", "ClsPric": "105.10"}
    return udiff(FinInstrmTp="STK", TckrSymb=symbol, SctySrs=series, TtlTradgVol="1200", **{**prices, **values})


def contract(kind: str, volume: int, value: float, **values: Any) -> str:
    prices = {"OpnPric": 100, "HghPric": 102, "LwPric": 98, "ClsPric": 101}
    terms = {"FinInstrmTp": kind, "TckrSymb": "NIFTY", "XpryDt": "2026-07-28", "OpnIntrst": 650, "NewBrdLotQty": 65}
    return udiff(TtlTradgVol=volume, TtlTrfVal=value, **{**prices, **terms, **values})


def file(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


FUTURE_VALUE = 10 * 65 * 100.0
OPTION_VALUE = 4 * 65 * (24_500 + 100.0)
DAILY = {
    "udiff": (UDIFF, share("INFY"), share("SMALL", "BE")),
    "cm": (
        "SYMBOL,SERIES,OPEN,HIGH,LOW,CLOSE,LAST,PREVCLOSE,TOTTRDQTY,TOTTRDVAL,TIMESTAMP,TOTALTRADES,ISIN,",
        "INFY,EQ,100.05,110,99.95,105.1,105,100,1200,126120,06-JUL-2026,9,INE009A01021,",
        "SMALL,BE,100.05,110,99.95,105.1,105,100,1200,126120,06-JUL-2026,9,INE000000000,",
    ),
    "sec": (
        "SYMBOL, SERIES, DATE1, PREV_CLOSE, OPEN_PRICE, HIGH_PRICE, LOW_PRICE, LAST_PRICE, CLOSE_PRICE, AVG_PRICE, "
        "TTL_TRD_QNTY, TURNOVER_LACS, NO_OF_TRADES, DELIV_QTY, DELIV_PER",
        "INFY, EQ, 06-Jul-2026, 100, 100.05, 110, 99.95, 105, 105.1, 104, 1200, 1.2, 9, 600, 50.00",
        "SMALL, BE, 06-Jul-2026, 100, 100.05, 110, 99.95, 105, 105.1, 104, 1200, 1.2, 9, -, -",
    ),
}


@pytest.mark.parametrize("format", DAILY)
def test_every_daily_file_of_shares_gives_the_same_bars(tmp_path: Path, format: str) -> None:
    loaded = load_file(file(tmp_path, "any.csv", *DAILY[format]))
    assert loaded.format == format and not loaded.parsed.bad
    rows = loaded.parsed.frame.drop("line", "price_scale").rows()
    values = (MIDNIGHT, 10_005, 11_000, 9_995, 10_510, 1_200, None)
    assert rows == [("NSE:EQ:INFY", *values), ("NSE:EQ:SMALL-BE", *values)]


@pytest.mark.parametrize("counted_in", ["contracts", "units"])
def test_udiff_derivatives_come_in_units_whatever_the_file_counts(tmp_path: Path, counted_in: str) -> None:
    lot = 1 if counted_in == "contracts" else 65
    lines = (
        contract("IDF", 10 * lot, FUTURE_VALUE),
        contract("IDO", 4 * lot, OPTION_VALUE, StrkPric="24500.00", OptnTp="CE", FininstrmActlXpryDt="2026-07-27"),
        contract("IDO", 0, 0, StrkPric="30000.00", OptnTp="CE", OpnPric=0, HghPric=0, LwPric=0),
        contract("XXX", 1, 1),
    )
    parsed = load_file(file(tmp_path, "fo.csv", UDIFF, *lines)).parsed
    assert parsed.frame.select("key", "volume", "oi", "close").rows() == [
        ("NSE:FUT:NIFTY:2026-07-28", 650, 650, 10_100),
        ("NSE:OPT:NIFTY:2026-07-27:24500:CE", 260, 650, 10_100),
    ]
    assert parsed.untraded == 1
    assert [(row.line, row.what) for row in parsed.bad] == [(5, "no symbol")]


def test_a_legacy_file_of_derivatives_tells_its_lot_by_the_value(tmp_path: Path) -> None:
    """Rows of a real file: the lot of BANKNIFTY was 40 then."""
    head = (
        "INSTRUMENT,SYMBOL,EXPIRY_DT,STRIKE_PR,OPTION_TYP,OPEN,HIGH,LOW,CLOSE,SETTLE_PR,CONTRACTS,VAL_INLAKH,OPEN_INT,"
        "CHG_IN_OI,TIMESTAMP,"
    )
    lines = (
        "FUTIDX,BANKNIFTY,26-Jul-2018,0,XX,26620,26740.05,26606.1,26713.4,26713.4,60977,650965.44,2326640,217280,"
        "09-JUL-2018,",
        "OPTIDX,BANKNIFTY,12-Jul-2018,27000,CE,28.6,37.7,26.9,31.85,31.85,175553,1898246.38,776320,143040,09-JUL-2018,",
        "OPTIDX,BANKNIFTY,12-Jul-2018,27000.5,PE,1,1,1,1,1,0,0,26360,15400,09-JUL-2018,",
    )
    parsed = load_file(file(tmp_path, "fo.csv", head, *lines)).parsed
    assert parsed.frame.select("key", "volume", "oi").rows() == [
        ("NSE:FUT:BANKNIFTY:2018-07-26", 60_977 * 40, 2_326_640),
        ("NSE:OPT:BANKNIFTY:2018-07-12:27000:CE", 175_553 * 40, 776_320),
    ]
    assert parsed.untraded == 1


CANDLES = [
    ["2026-07-06T09:15:00+0530", 100.05, 101, 99.95, 100.5, 10, 700],
    ["2026-07-06T09:16:00+0530", 100.5, 102, 100.5, 101, 20, 710],
    ["2026-07-06T09:17:00", 100.5, 102, 100.5, 101, 20, 710],
    "no candle",
]


def test_the_brokers_answer_is_taken_under_the_name_of_its_file_or_the_one_given(tmp_path: Path) -> None:
    body = json.dumps({"status": "success", "data": {"candles": CANDLES}})
    path = file(tmp_path, "NSE_INFY_minute.json", body)
    parsed = load_file(path).parsed
    assert parsed.frame.select("key", "start_ns", "open", "oi").rows()[0] == (
        "NSE:EQ:INFY", ns(date(2026, 7, 6), "09:15"), 10_005, 700,
    )  # fmt: skip
    assert parsed.bar_ns == 60_000_000_000 and parsed.frame.height == 2
    assert [row.line for row in parsed.bad] == [3, 4]
    other = file(tmp_path, "answer.json", body)
    assert load_file(other, hints=Hints("NSE:FUT:NIFTY:2026-07-28")).parsed.frame["key"][0].startswith("NSE:FUT:")
    with pytest.raises(HistoryError, match="does not say whose bars they are; say it with --instrument"):
        load_file(other)


def test_daily_candles_and_plain_dates_are_the_same_day(tmp_path: Path) -> None:
    candle = json.dumps({"data": {"candles": [["2026-07-06T00:00:00+0530", 1, 2, 1, 2, 3]]}})
    one = load_file(file(tmp_path, "NSE_INFY_day.json", candle)).parsed
    other = load_file(file(tmp_path, "d.csv", "symbol,date,open,high,low,close,volume", "INFY,2026-07-06,1,2,1,2,3"))
    assert one.frame.drop("line").equals(other.parsed.frame.drop("line"))
    assert one.frame["start_ns"][0] == MIDNIGHT and one.bar_ns == other.parsed.bar_ns == 24 * 3600 * 10**9


HEAD = "symbol,ts,open,high,low,close,volume"
GOOD = "INFY,2026-07-06 09:15:00+05:30,100,101,99,100.5,10"
NEXT = "INFY,2026-07-06 09:16:00+05:30,100,101,99,100.5,10"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("INFY,2026-07-06 09:17:00+05:30,1,234.5,101,99,100.5,10", "8 fields where the head has 7"),
        ("INFY,2026-07-06 09:17:00+05:30,100", "3 fields where the head has 7"),
        ("INFY,2026-07-06 09:17:00,100,101,99,100.5,10", "the time is none, or names no zone"),
        (",2026-07-06 09:17:00+05:30,100,101,99,100.5,10", "no symbol"),
        ("../../x:EQ:A,2026-07-06 09:17:00+05:30,100,101,99,100.5,10", "the symbol cannot be one"),
        ("NSE:EQ:A/../../B,2026-07-06 09:17:00+05:30,100,101,99,100.5,10", "the symbol cannot be one"),
        ("INFY,2026-07-06 09:17:00+05:30,ten,101,99,100.5,10", "the open is no price"),
        ("INFY,2026-07-06 09:17:00+05:30,100,inf,99,100.5,10", "the high is no price"),
        ("INFY,2026-07-06 09:17:00+05:30,100,101,-99,100.5,10", "the low is negative"),
        ("INFY,2026-07-06 09:17:00+05:30,100,101,0,100.5,10", "the low is zero"),
        ("INFY,2026-07-06 09:17:00+05:30,100,98,99,100.5,10", "the high is below the low"),
        ("INFY,2026-07-06 09:17:00+05:30,100,101,99,102,10", "the close is outside low to high"),
        ("INFY,2026-07-06 09:17:00+05:30,100,101,99,100.5,-1", "the volume is negative"),
        ("INFY,2026-07-06 09:17:00+05:30,100,101,99,100.5,1.5", "the volume is no whole number"),
    ],
)
def test_a_row_that_cannot_be_true_is_left_out_and_told_with_its_line(tmp_path: Path, line: str, what: str) -> None:
    store = Store(tmp_path / "store", create=True)
    path = file(tmp_path, "b.csv", HEAD, GOOD, "", line, NEXT)
    found = import_files(store, [path])
    assert (found.merged, found.bad_rows) == (Merged(added=2), 1)
    assert [tuple(row) for row in found.bad] == [(str(path), 4, what)]


def test_quoted_fields_and_the_last_of_two_rows_count(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    later = 'INFY,"2026-07-06 09:15:00+05:30",100,101,99,100.75,10'
    found = import_files(store, [file(tmp_path, "q.csv", HEAD, GOOD, NEXT, later)])
    assert found.merged == Merged(added=2, repeated=1)
    assert scan(store).sort("start_ns").collect()["close"].to_list() == [10_075, 10_050]


def test_packed_files_of_a_folder_are_taken_and_others_skipped_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    (folder / "july").mkdir(parents=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("BhavCopy_NSE_CM_0_0_0_20260706_F_0000.csv", "\n".join(DAILY["udiff"]))
    (folder / "july" / "cm.csv.zip").write_bytes(buffer.getvalue())
    (folder / "bars.csv.gz").write_bytes(gzip.compress("\n".join([HEAD, GOOD, NEXT]).encode()))
    pl.DataFrame({"a": [1]}).write_parquet(folder / "other.parquet")
    file(folder, "notes.csv", "what,ever", "1,2")
    (folder / "README.md").write_text("not looked at")
    store = Store(tmp_path / "store", create=True)
    told: list[tuple[int, int]] = []
    found = import_files(store, [folder], progress=lambda done, whole: told.append((done, whole)))
    assert found.merged == Merged(added=4)
    assert [Path(each["file"]).name for each in found.files] == ["bars.csv.gz", "cm.csv.zip"]
    assert sorted(Path(reason.partition(":")[0]).name for reason in found.skipped) == ["notes.csv", "other.parquet"]
    assert told[-1] == (4, 4)
    assert import_files(store, [folder]).merged == Merged(same=4)
    assert {entry["format"] for entry in store.sources()} == {"bars", "udiff"} and len(store.sources()) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"what,ever\n1,2\n", "holds nothing that can be imported; known are bars"),
        ("x.zip", b"PK\x03\x04torn", "cannot be read"),
        ("x.csv", b"symbol,ts,open,high,low,close,volume\n", "no bars in it"),
        ("x.csv", b"symbol,open,high,low,close,volume\nA,1,1,1,1,1\n", "no column time"),
        ("x.json", b'{"data": {}}', "no candles in it"),
        ("x.toml", b"[[action]]\nkind = 'gift'\n", "action 1: kind"),
    ],
)
def test_a_named_file_that_cannot_be_taken_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AtmandError, match=message):
        import_files(Store(tmp_path / "store", create=True), [path])


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("INFY", "NSE:EQ:INFY"),
        ("BSE:TCS", "BSE:EQ:TCS"),
        ("NIFTY 50", "NSE:INDEX:NIFTY 50"),
        ("NSE:INDIA VIX", "NSE:INDEX:INDIA VIX"),
        ("NIFTYBEES", "NSE:EQ:NIFTYBEES"),
        ("NSE:OPT:NIFTY:2026-07-28:24500:CE", "NSE:OPT:NIFTY:2026-07-28:24500:CE"),
    ],
)
def test_a_name_stands_for_a_durable_key(name: str, key: str) -> None:
    assert key_of(name) == key


def test_real_bars_come_back_as_the_file_has_them(tmp_path: Path, data_directory: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    found = import_files(store, [data_directory / "bars"])
    assert (found.merged, found.bad_rows) == (Merged(added=81_000 + 44_794 + 10_496), 0)
    assert import_files(store, [data_directory / "bars"]).merged == Merged(same=136_290)
    direct = load_bars(data_directory / "bars" / "nse_eq_1m_2016-08.parquet")
    stored = load_bars(store.directory, direct.symbols)
    assert sorted(stored.symbols) == sorted(direct.symbols)
    assert all((stored.series[symbol] == direct.series[symbol]).all() for symbol in direct.symbols)


def test_the_brokers_own_samples_are_taken(data_directory: Path) -> None:
    hints = Hints("NSE:FUT:NIFTY:2026-07-28")
    for name in ("historical_minute.json", "historical_oi.json"):
        parsed = load_file(data_directory / "kite" / name, hints=hints).parsed
        assert parsed.frame.height and not parsed.bad
        assert parsed.frame["oi"].null_count() == (parsed.frame.height if "minute" in name else 0)
