"""What may be held under CNC, MIS and NRML, and by when MIS is flat."""

from __future__ import annotations

from datetime import date

import pytest

from atmand.errors import AtmandError
from atmand.market.products import kind_of_name, product_refusal, square_off_minutes, square_off_segment


@pytest.mark.parametrize(
    ("product", "is_derivative", "refused"),
    [
        ("CNC", False, ""), ("MIS", False, ""), ("NRML", False, "NRML carries futures and options"),
        ("CNC", True, "CNC takes shares into delivery"), ("MIS", True, ""), ("NRML", True, ""),
    ],
)  # fmt: skip
def test_cnc_is_for_shares_and_nrml_for_derivatives(product: str, is_derivative: bool, refused: str) -> None:
    found = product_refusal(product, "X", is_derivative=is_derivative)

    assert (found[0].split(", and")[0] if found else "") == refused
    assert found is None or "use product" in found[1]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NSE:INFY", "share"), ("BSE:EQ:INFY", "share"), ("NFO:NIFTY:FUT:near", "derivative"),
        ("NSE:FUT:NIFTY:2026-08-25", "derivative"), ("BSE:OPT:SENSEX:2026-08-27:80000:CE", "derivative"),
        ("BFO:SENSEX26AUGFUT", "derivative"), ("top 50", ""),
    ],
)  # fmt: skip
def test_a_name_says_what_it_means_where_it_can(name: str, kind: str) -> None:
    assert kind_of_name(name) == kind


@pytest.mark.parametrize(
    ("day", "segment", "has_auction", "minutes"),
    [
        (date(2026, 7, 31), "EQ", True, 15), (date(2026, 8, 3), "EQ", True, 5), (date(2026, 8, 3), "EQ", False, 15),
        (date(2026, 7, 31), "OPT", False, 10), (date(2026, 8, 3), "FUT", False, 20),
    ],
)  # fmt: skip
def test_mis_is_flat_before_the_broker_acts_on_both_sides_of_the_closing_auction(
    day: date, segment: str, has_auction: bool, minutes: int
) -> None:
    assert square_off_minutes(day, square_off_segment(segment, has_auction=has_auction)) == minutes


def test_a_day_before_the_square_off_table_is_refused() -> None:
    with pytest.raises(AtmandError, match=r"square-off table for EQ begins on 2010-10-18"):
        square_off_minutes(date(2010, 10, 17), "EQ")
