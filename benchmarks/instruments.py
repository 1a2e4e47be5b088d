"""A day's instruments, 100,000 of them: reading the broker's CSV, loading what was kept, finding, resolving.

Prints JSON lines; writes the section `instruments` of docs/performance.md.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any, Final

from _report import Report, interleaved, table

from atmand.instrument_store import InstrumentStore, difference
from atmand.market.catalogue import Catalogue
from atmand.market.kite_dump import KITE_COLUMNS, parse_kite_dump
from atmand.market.reference import own_reference, with_reference
from atmand.market.universe import ChainNeed, Listing, chain_of, choose

_DAY: Final = date(2026, 7, 6)
_SHARES: Final = 20_000
_UNDERLYINGS: Final = 200
_EXPIRIES: Final = (date(2026, 7, 28), date(2026, 8, 25))
_STRIKES: Final = range(100, 600, 5)
_RUNS: Final = 7
_DEFINITION: Final = f"""A generated dump of 100,000 rows: {_SHARES:,} shares, and options on {_UNDERLYINGS} of them.
*Read* is from the CSV text to the table with every field checked, beside Python's `csv` alone splitting the same text;
*loaded* is from the file of the state directory to the table; *filled* adds ISINs, sectors and freeze quantities;
*resolved* is a fresh table's first name, future, option and chain, its indices included; *compared* is a day with
itself. Milliseconds, the median of {_RUNS} runs in turns; processor time beside it, for the machine is shared."""


def main() -> None:
    text = _dump()
    catalogue = parse_kite_dump(text)
    reference = own_reference(_DAY, simulated=True)
    with tempfile.TemporaryDirectory() as folder:
        store = InstrumentStore(Path(folder))
        store.save(_DAY, catalogue, keep=2)
        contestants: dict[str, Callable[[], Any]] = {
            "split by csv alone": lambda: list(csv.reader(StringIO(text))),
            "read": lambda: parse_kite_dump(text),
            "loaded": lambda: store.load(_DAY),
            "filled": lambda: with_reference(catalogue, reference, _DAY),
            "resolved": lambda: _resolved(Catalogue(catalogue.rows)),
            "compared": lambda: difference(Catalogue(catalogue.rows), Catalogue(catalogue.rows), _DAY),
        }
        spent = interleaved(contestants, _RUNS)
    report = Report("instruments", "A day's instruments")
    for name, spread in spent.items():
        report.figure(name, "median", 1e3 * spread.wall, "ms", cpu=1e3 * spread.cpu, rows=len(catalogue))
    rows = [[name, f"{1e3 * spread.wall:.1f}", f"{1e3 * spread.cpu:.1f}"] for name, spread in spent.items()]
    report.write(_DEFINITION, table(["", "ms", "processor ms"], rows))


def _resolved(catalogue: Catalogue) -> None:
    listing = Listing(catalogue, _DAY)
    for name in ("NSE:SYM19999", "NSE:EQ:SYM7", "NFO:SYM7:CE:ATM+2:monthly"):
        choose(name, listing)
    chain_of("NSE:EQ:SYM199", ChainNeed(frozenset({1, -1}), frozenset({"next"}), 2, 0.0), listing)


def _dump() -> str:
    lines = [",".join(KITE_COLUMNS)]
    for at in range(_SHARES):
        price = 100 + at % 3_000 / 20
        lines.append(f"{at + 1 << 8 | 1},{at + 1},SYM{at},COMPANY NUMBER {at},{price},,0,0.05,1,EQ,NSE,NSE")
    number = 100_000
    for at in range(_UNDERLYINGS):
        for expiry in _EXPIRIES:
            for strike in _STRIKES:
                for right in ("CE", "PE"):
                    facts = f"SYM{at}{expiry:%y%b}{strike}{right},SYM{at},0,{expiry},{strike}.0,0.05,{25 + at},{right}"
                    lines.append(f"{number << 8 | 2},{number},{facts},NFO-OPT,NFO")
                    number += 1
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
