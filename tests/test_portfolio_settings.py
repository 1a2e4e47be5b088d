"""What `[portfolio]` and a strategy's capital come to in a LIMITS record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from atmand.core.manifest import BookPlan, Manifest
from atmand.core.opening import PortfolioLimits
from atmand.market.instruments import Instrument
from atmand.opening import book_limits
from atmand.params.resolve import BookValues, Resolution
from atmand.portfolio import Money, PortfolioSettings, portfolio_limits, with_sectors
from atmand.settings import Settings, SettingsError, load

ONE = BookPlan("one", "paper", 0, False, 0, 0, 0, (), "")
LENT = replace(ONE, strategy="one~1", run_off=True, origin="one")
RUPEES = 100


def configured(folder: Path, strategy: str, portfolio: str = "capital_rupees = 1_000_000") -> Settings:
    (folder / "s.toml").touch()
    path = folder / "x.toml"
    path.write_text(
        f"[accounts.paper]\n[portfolio]\n{portfolio}\n"
        f'[strategies.one]\nfile = "s.toml"\naccount = "paper"\n{strategy}\n'
    )
    return load(path)


@pytest.mark.parametrize(
    ("strategy", "weight", "rupees"),
    [
        ("capital_rupees = 500_000", 1.0, 500_000),
        ("capital_rupees = 500_000", 0.5, 250_000),
        ('capital = "25%"', 1.0, 260_000 - 30_000),  # what it made is part of its share
        ('capital = "weight"', 0.1, 104_000 - 30_000),
        ('capital = "weight"', None, 980_000 - 30_000),  # all that the other book leaves
    ],
)
def test_capital_is_an_amount_a_share_of_the_equity_or_the_documents_weight(
    tmp_path: Path, strategy: str, weight: float | None, rupees: int
) -> None:
    settings = configured(tmp_path, strategy)
    money = {
        "one@paper": Money(90_000 * RUPEES, 60_000 * RUPEES),
        "two@paper": Money(60_000 * RUPEES, 50_000 * RUPEES),
        "one@other": Money(9_000_000 * RUPEES, 0),
    }
    values = Resolution((BookValues("one", "", {}, {}, weight),))
    (limits,) = book_limits(settings, Manifest((), (ONE,), ("paper",), ""), values, money)
    assert limits.capital_paise == rupees * RUPEES


def test_what_a_run_off_book_is_lent_is_not_given_twice(tmp_path: Path) -> None:
    settings = configured(tmp_path, "capital_rupees = 500_000")
    money = {"one@paper": Money(380_000 * RUPEES, 380_000 * RUPEES), "one~1@paper": Money(1, 120_000 * RUPEES)}
    found = book_limits(settings, Manifest((), (ONE, LENT), ("paper",), ""), Resolution(()), money)
    assert [limits.capital_paise for limits in found] == [380_000 * RUPEES, 120_000 * RUPEES]


MANY = """[accounts.paper]
[accounts.other]
[portfolio]
capital_rupees = 1_000_000
[strategies.one]
file = "s.toml"
account = "paper"
capital_rupees = 400_000
[strategies.two]
file = "s.toml"
account = "paper"
capital = "SHARE"
[strategies.three]
file = "s.toml"
account = "paper"
capital = "weight"
[strategies.four]
file = "s.toml"
account = "other"
capital = "100%"
"""


def test_strategies_of_an_account_are_not_given_more_than_it_has(tmp_path: Path) -> None:
    (tmp_path / "s.toml").touch()
    path = tmp_path / "x.toml"
    path.write_text(MANY.replace("SHARE", "60%"))
    assert load(path).strategies["two"].capital == "60%"
    path.write_text(MANY.replace("SHARE", "75%"))
    told = (
        r"strategies.two.capital: .* given 1150000 rupees up to this one, and it has 1000000; give them less, or raise"
    )
    with pytest.raises(SettingsError, match=told):
        load(path)


@pytest.mark.parametrize("lost", [0, 250_000, -250_000])
def test_the_books_of_an_account_are_never_worth_more_than_it(tmp_path: Path, lost: int) -> None:
    (tmp_path / "s.toml").touch()
    path = tmp_path / "x.toml"
    path.write_text(MANY.replace("SHARE", "60%"))
    plans = tuple(replace(ONE, strategy=name) for name in ("one", "two", "three"))
    money = {
        "one@paper": Money(400_000 * RUPEES, 400_000 * RUPEES),
        "two@paper": Money((600_000 - lost) * RUPEES, 600_000 * RUPEES),
    }
    found = book_limits(load(path), Manifest((), plans, ("paper",), ""), Resolution(()), money)
    before = [money.get(f"{plan.strategy}@paper", Money(0, 0)) for plan in plans]
    worth = [was.equity_paise + book.capital_paise - was.capital_paise for was, book in zip(before, found, strict=True)]
    equity = (1_000_000 - lost) * RUPEES
    assert sum(worth) <= equity
    assert worth[0] == 400_000 * RUPEES  # an amount is an amount
    assert worth[1] == min(int(0.6 * equity), equity - worth[0])
    assert abs(sum(worth) - equity) <= 1  # what nobody else has is the weight's


@pytest.mark.parametrize(
    ("strategy", "portfolio", "words"),
    [
        ("", "", "capital_rupees: not set"),
        ('capital_rupees = 1\ncapital = "10%"', "capital_rupees = 5", "not both"),
        ('capital = "10%"', "", r"\[portfolio\] capital_rupees"),
        ('capital = "110%"', "capital_rupees = 5", "not a share"),
        (
            "capital_rupees = 11",
            "capital_rupees = 10",
            "one.capital_rupees: the strategies of account .* 11 ",
        ),
        ("capital_rupees = 1", 'gross = "much"', "1.5x"),
        ("capital_rupees = 1", "net = 0", "above 0"),
        ("capital_rupees = 1", "positions = 0", "positions"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place_and_a_remedy(
    tmp_path: Path, strategy: str, portfolio: str, words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        configured(tmp_path, strategy, portfolio)


def test_limits_travel_as_paise_or_as_basis_points_of_the_equity() -> None:
    settings = PortfolioSettings(gross="1.5x", net=2_000, positions=3, positions_per_sector=2, netting=False)
    assert portfolio_limits(settings) == PortfolioLimits(
        netting=False, account_positions=3, sector_positions=2, net_paise=200_000, gross_of_equity=15_000
    )
    assert portfolio_limits(PortfolioSettings()) == PortfolioLimits()
    with pytest.raises(ValidationError):
        PortfolioSettings(gross="0x")


def test_the_configuration_gives_instruments_their_sector_by_key_or_by_short_name() -> None:
    def share(symbol: str, sector: str = "") -> Instrument:
        return Instrument(
            key=f"NSE:EQ:{symbol}", isin="", token=1, exchange="NSE", segment="EQ", symbol=symbol, name=symbol,
            price_scale=100, tick=5, lot=1, freeze=0, lower_band=0, upper_band=0, tradable=True, sector=sector,
        )  # fmt: skip

    listed = [(share("A"), 0), (share("B"), 1), (share("C", "IT"), 0)]
    found = with_sectors(listed, {"BANK": ["NSE:A", "NSE:EQ:B"]})
    assert [(one.sector, group) for one, group in found] == [("BANK", 0), ("BANK", 1), ("IT", 0)]
