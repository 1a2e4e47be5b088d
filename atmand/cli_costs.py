"""The verb `atmand costs`: what hypothetical orders of a day would cost, as a contract note lists it.

`cli` mounts it; the tables and the reckoning are the market room's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from atmand.cli_words import Config, CostsAsOf, Json, day, print_json, print_rows, say

if TYPE_CHECKING:
    from atmand.market.costs import Executed

__all__ = ["costs"]

_ORDER: Final = re.compile(r"(?P<side>buy|sell):(?P<quantity>[0-9]{1,9})@(?P<price>[0-9]{1,9}(?:\.[0-9]{1,2})?)", re.I)
_WORDS: Final = {
    "brokerage": "brokerage",
    "stt": "securities transaction tax",
    "exchange_txn": "exchange and its investor protection fund",
    "sebi": "SEBI turnover fee",
    "gst": "GST",
    "stamp": "stamp duty",
    "dp": "depository (DP)",
    "total": "total",
    "total_with_stt_rupee_rounded": "total, STT in whole rupees",
}


def costs(
    context: typer.Context,
    orders: Annotated[
        list[str],
        typer.Argument(help="Executed orders, SIDE:QUANTITY@PRICE in rupees: BUY:33@287.65.", metavar="ORDER..."),
    ],
    traded: Annotated[Any, typer.Option("--date", help="The day of the trade.", parser=day, metavar="DAY")],
    exchange: Annotated[str, typer.Option(help="NSE or BSE.", metavar="NAME")],
    segment: Annotated[
        str,
        typer.Option(help="EQ_DELIVERY, EQ_INTRADAY, FUT, OPT or (BSE) OPT_SENSEX_BANKEX.", metavar="NAME"),
    ],
    brokerage: Annotated[
        str | None, typer.Option(help="The brokerage plan. Default: the configuration's.", metavar="PLAN")
    ] = None,
    costs_as_of: CostsAsOf = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List what executed orders of one instrument and day cost, in rupees, charge by charge.

    An option's price is its premium, a future's its own; the quantity is in units, not lots.
    """
    from atmand.market.costs import contract_note
    from atmand.settings import load

    executed = _executed(orders)
    plan = load(config or context.obj).market.brokerage if brokerage is None else brokerage
    rates_of: date = costs_as_of or traded
    note = contract_note(executed, day=rates_of, exchange=exchange, segment=segment, plan=plan)
    if costs_as_of is not None:
        say(f"costs as of {costs_as_of}")
    if as_json:
        print_json({name: str(value) for name, value in note.items()})
    else:
        print_rows(
            ("charge", "rupees"), [{"charge": _WORDS[name], "rupees": str(value)} for name, value in note.items()]
        )


def _executed(words: Sequence[str]) -> list[Executed]:
    """Read orders; a price has at most two decimals, so that a value is whole paise."""
    from atmand.market.costs import Executed

    found = []
    for word in words:
        match = _ORDER.fullmatch(word)
        if match is None:
            raise typer.BadParameter(f"{word!r} is not an order; write BUY:33@287.65 or SELL:33@291.20")
        quantity, price = int(match["quantity"]), Decimal(match["price"])
        if quantity == 0 or price == 0:
            raise typer.BadParameter(f"{word!r}: quantity and price must be above 0")
        found.append(Executed(1 if match["side"].upper() == "BUY" else -1, quantity * int(price * 100)))
    return found
