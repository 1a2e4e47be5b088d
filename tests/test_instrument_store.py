"""The instruments kept by day: what is accepted, what is refused and what stays, and what is said of a change."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

sys.path.append(str(Path(__file__).parent / "market"))

from dumps import DAY, INDEX_ROWS, chain, dump_of, futures, market_dump, share

from atmand.errors import DamagedError
from atmand.feed.protocol import FeedUnreachableError
from atmand.instrument_store import FOLDER, InstrumentStore, check_complete, difference
from atmand.listing import ListingKeeper, kept_listing, listing_of
from atmand.market.instruments import InstrumentError
from atmand.market.kite_dump import parse_kite_dump
from atmand.market.universe import Listing, choose
from atmand.settings import Settings, load

NEXT = date(2026, 7, 7)
NIFTY = "NSE:INDEX:NIFTY 50"


class Broker:
    """Answers as the broker's HTTP interface does; counts what it is asked for."""

    def __init__(self, text: str, price: float | None = 24_012.4) -> None:
        self.text, self.price, self.asked = text, price, 0

    async def instruments(self) -> str:
        return self.text

    async def last_prices(self, names: Sequence[str]) -> dict[str, float]:
        self.asked += 1
        if self.price is None:
            raise FeedUnreachableError("kite quotes", "HTTP 503", "try again later")
        return {name: self.price for name in names if name == "NSE:NIFTY 50"}


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    def made(*, kind: str = "kite", **instruments: Any) -> Settings:
        token = tmp_path / "token"
        token.write_text("t")
        feed = (
            {"kind": kind, "kite": {"api_key": "k", "access_token_file": token}} if kind == "kite" else {"kind": kind}
        )
        return load(None, {"instance": {"state": tmp_path / "state"}, "feed": feed, "instruments": instruments})

    return made


async def fetched(settings: Settings, broker: Broker, day: date, in_use: Sequence[str] = ()) -> Listing:
    keeper = ListingKeeper(settings, simulated=settings.feed.kind == "simulator")
    return await keeper.fetch(broker, day, in_use)  # type: ignore[arg-type]


def store_of(settings: Settings) -> InstrumentStore:
    return InstrumentStore(settings.instance.state / FOLDER)


async def test_a_days_dump_is_kept_and_read_back_as_it_was(settings: Callable[..., Settings]) -> None:
    listing = await fetched(settings(), Broker(market_dump()), DAY)
    again = kept_listing(settings())

    assert store_of(settings()).days() == [DAY]
    assert (again.catalogue.rows == listing.catalogue.rows).all()
    assert again.catalogue.sha256 == parse_kite_dump(market_dump()).sha256
    assert (again.day, again.roll_sessions, again.chain_strikes) == (DAY, 0, 40)


async def test_strikes_are_chosen_by_the_days_first_price_also_after_a_restart(
    settings: Callable[..., Settings],
) -> None:
    """The dump's own last prices are of the night; a restart at another price must find the same contracts."""
    first = await fetched(settings(), Broker(market_dump(), 24_212.0), DAY)
    later = Broker(market_dump(), 23_700.0)
    again = await fetched(settings(), later, DAY)
    tomorrow = await fetched(settings(), later, NEXT)

    of = "NFO:NIFTY:CE:ATM:weekly"
    assert [choose(of, one)[0].strike for one in (first, again)] == [2_420_000, 2_420_000]
    assert choose(of, tomorrow)[0].key == "NSE:OPT:NIFTY:2026-07-07:23700:CE"


async def test_without_prices_nothing_is_at_the_money_and_the_day_goes_on(settings: Callable[..., Settings]) -> None:
    with capture_logs() as told:
        listing = await fetched(settings(), Broker(market_dump(), None), DAY)

    assert [one["event"] for one in told] == ["underlying_prices_failed"]
    assert choose("NFO:NIFTY:FUT:near", listing)
    with pytest.raises(InstrumentError, match="price of NSE:INDEX:NIFTY 50: not known"):
        choose("NFO:NIFTY:CE:ATM:weekly", listing)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (market_dump().replace("256265", "25626S"), "column instrument_token: '25626S' is not a decimal number"),
        (market_dump()[: len(market_dump()) // 2] + '"', "instrument dump, line"),
        (dump_of([]), "lists nothing"),
        ("<html>", "no column"),
        (dump_of(row for row in market_dump().splitlines()[1:] if "NIFTY BANK" not in row and ",TCS," not in row
                 and ",INFY" not in row), "instruments of BSE are missing"),
        (dump_of(market_dump().splitlines()[1:40]), "instruments of BFO are missing"),
    ],
)  # fmt: skip
async def test_a_damaged_or_shrunken_dump_is_refused_and_yesterdays_stays(
    settings: Callable[..., Settings], text: str, reason: str
) -> None:
    await fetched(settings(), Broker(market_dump()), DAY)
    with capture_logs() as told:
        listing = await fetched(settings(), Broker(text), NEXT)

    (refused,) = [one for one in told if one["event"] == "instruments_refused"]
    assert reason in refused["error"] and (refused["day"], refused["in_force"]) == ("2026-07-07", "2026-07-06")
    assert listing.day == NEXT and len(listing.catalogue) == market_dump().count("\n") - 1
    assert store_of(settings()).days() == [DAY]  # a file of today would say that today's dump was good


async def test_a_refused_dump_with_nothing_kept_or_only_old_files_ends_the_start(
    settings: Callable[..., Settings],
) -> None:
    with pytest.raises(InstrumentError, match="lists nothing"):
        await fetched(settings(), Broker(dump_of([])), DAY)
    await fetched(settings(), Broker(market_dump()), DAY)
    with pytest.raises(InstrumentError, match="lists nothing"):
        await fetched(settings(), Broker(dump_of([])), DAY + timedelta(days=8))


async def test_contracts_that_expired_are_not_missed(settings: Callable[..., Settings]) -> None:
    """A whole weekly chain is gone on the day after its expiry, and nothing is wrong."""
    alive = [row for row in market_dump().splitlines()[1:] if ",2026-07-07," not in row]
    await fetched(settings(), Broker(market_dump()), NEXT)
    with capture_logs() as told:
        await fetched(settings(), Broker(dump_of(alive)), date(2026, 7, 8))

    (refreshed,) = [one for one in told if one["event"] == "instruments_refreshed"]
    assert (refreshed["expired"], refreshed["removed"], refreshed["added"]) == (162, 0, 0)


async def test_a_change_is_told_in_counts_and_by_name_where_it_is_in_use(settings: Callable[..., Settings]) -> None:
    before = dump_of([share(1, "AAA"), share(2, "BBB"), share(3, "CCC"), *futures("AAA", [date(2026, 7, 28)], first=9)])
    after = dump_of([share(1, "AAA", tick="0.10"), share(2, "BBB", tick="0.01"), share(4, "DDD"),
                     *futures("AAA", [date(2026, 7, 28)], first=9, lot=50)])  # fmt: skip
    lenient = settings(most_lost_percent=50.0)
    await fetched(lenient, Broker(before), DAY)
    with capture_logs() as told:
        await fetched(lenient, Broker(after), NEXT, ["NSE:EQ:AAA", "NSE:EQ:CCC"])

    (refreshed,) = [one for one in told if one["event"] == "instruments_refreshed"]
    counts = {name: refreshed[name] for name in ("instruments", "added", "removed", "expired", "lots", "ticks")}
    assert counts == {"instruments": 4, "added": 1, "removed": 1, "expired": 0, "lots": 1, "ticks": 2}
    assert refreshed["in_use"] == ["NSE:EQ:CCC is gone", "NSE:EQ:AAA: tick 5 to 10"]


async def test_a_dump_that_did_not_change_is_not_told(settings: Callable[..., Settings]) -> None:
    await fetched(settings(), Broker(market_dump()), DAY)
    with capture_logs() as told:
        await fetched(settings(), Broker(market_dump()), NEXT)
    assert told == [] and store_of(settings()).days() == [DAY, NEXT]


async def test_a_simulated_market_may_be_another_one(settings: Callable[..., Settings]) -> None:
    simulated = settings(kind="simulator")
    await fetched(simulated, Broker(market_dump()), DAY)
    assert len((await fetched(simulated, Broker(dump_of([share(1, "ONE")])), NEXT)).catalogue) == 1


def test_old_days_go_and_strangers_files_stay(settings: Callable[..., Settings]) -> None:
    store, catalogue = store_of(settings()), parse_kite_dump(market_dump())
    days = [DAY + timedelta(days=step) for step in range(4)]
    for day in days:
        store.save(day, catalogue, keep=2)
        (settings().instance.state / FOLDER / "notes.npz").touch()
    assert store.days() == days[-2:]
    assert {path.name for path in (settings().instance.state / FOLDER).iterdir()} == {
        "2026-07-08.npz", "2026-07-09.npz", "notes.npz",
    }  # fmt: skip


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half", b"not numpy at all"])
def test_a_damaged_file_is_named_and_the_one_before_is_taken(settings: Callable[..., Settings], damage: bytes) -> None:
    store, catalogue = store_of(settings()), parse_kite_dump(market_dump())
    store.save(DAY, catalogue, keep=5)
    store.save(NEXT, catalogue, keep=5)
    (settings().instance.state / FOLDER / "2026-07-07.npz").write_bytes(damage)

    with pytest.raises(DamagedError, match=r"2026-07-07\.npz: cannot be read"):
        store.load(NEXT)
    found = store.newest(NEXT)
    assert found is not None and found[0] == DAY


def test_a_day_that_was_not_kept_is_refused_with_those_that_were(settings: Callable[..., Settings]) -> None:
    with pytest.raises(InstrumentError, match="no instruments of any day; kept are none"):
        kept_listing(settings())
    store_of(settings()).save(DAY, parse_kite_dump(market_dump()), keep=5)
    with pytest.raises(InstrumentError, match="no instruments of 2026-07-09; kept are 2026-07-06"):
        kept_listing(settings(), date(2026, 7, 9))


def test_the_operators_files_are_read_from_where_the_configuration_says(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text(
        "Company Name,Industry,Symbol,Series,ISIN Code\nI,SOFTWARE,INFY,EQ,INE009A01021\n"
    )
    members, freeze = tmp_path / "members.toml", tmp_path / "freeze.toml"
    members.write_text('[[members]]\nindex = "NIFTY 50"\nfrom = 2026-03-31\nfile = "list.csv"\n')
    freeze.write_text("[[freeze]]\nfrom = 2026-07-01\nunits = { NIFTY = 900 }\n")
    with_files = settings(members=members, freeze=freeze, shares=[tmp_path / "list.csv"])
    catalogue = parse_kite_dump(market_dump())
    listing = listing_of(catalogue, DAY, with_files.instruments, simulated=False)

    assert [(one.key, one.isin, one.sector) for one in choose("INDEX:NIFTY 50", listing)] == [
        ("NSE:EQ:INFY", "INE009A01021", "SOFTWARE")
    ]
    assert choose("NFO:NIFTY:FUT:near", listing)[0].freeze == 900
    (tmp_path / "list.csv").unlink()
    with pytest.raises(InstrumentError, match=r"list\.csv: No such file"):
        listing_of(catalogue, DAY, with_files.instruments, simulated=False)


def test_a_freeze_table_that_ends_is_told_on_a_real_market_only(settings: Callable[..., Settings]) -> None:
    catalogue = parse_kite_dump(market_dump())
    for day, simulated, events in (
        (date(2026, 8, 31), False, []),
        (date(2026, 9, 1), False, ["freeze_outdated"]),
        (date(2026, 9, 1), True, []),
    ):
        with capture_logs() as told:
            listing_of(catalogue, day, settings().instruments, simulated=simulated)
        assert [one["event"] for one in told] == events


def test_a_difference_of_nothing_is_nothing() -> None:
    one = parse_kite_dump(market_dump())
    found = difference(one, one, DAY)
    assert (found.added, found.removed, found.expired, found.changed) == ([], [], 0, [])
    check_complete(one, one, DAY, most_lost_percent=0.0)


def test_one_exchange_is_not_excused_by_another() -> None:
    """A hundred NFO contracts more do not make up for BSE's index that is gone."""
    before = parse_kite_dump(dump_of([*INDEX_ROWS, *chain("NIFTY", [date(2026, 7, 28)], range(1, 101), first=10)]))
    after = parse_kite_dump(dump_of([*INDEX_ROWS[:2], *chain("NIFTY", [date(2026, 7, 28)], range(1, 201), first=10)]))

    with pytest.raises(InstrumentError, match="1 of 1 instruments of BSE are missing"):
        check_complete(before, after, DAY, most_lost_percent=10.0)
