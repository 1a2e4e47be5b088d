"""The simulated exchange's instruments: fifty shares listed on NSE and BSE, four indices, and the dump of them.

Symbols and tokens follow the broker's public numbering so that configurations carry over; price levels, sectors,
volatilities and ISINs are invented. The generator and the REST dump read it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from atmand.market.instruments import session_group
from atmand.market.kite_dump import parse_kite_dump

__all__ = ["COMPANIES", "INDICES", "SEGMENT_BSE", "SEGMENT_INDEX", "SEGMENT_NSE", "Company", "IndexFact", "Listing"]
__all__ += ["dump_csv", "seeded_listings", "session_groups"]

SEGMENT_NSE: Final = 1
SEGMENT_BSE: Final = 4
SEGMENT_INDEX: Final = 9


@dataclass(frozen=True, slots=True)
class Company:
    """One invented company: a base price in rupees, a daily volatility, a daily NSE volume and a circuit in percent."""

    symbol: str
    name: str
    nse: int
    bse: int
    sector: str
    rupees: int
    volatility: float
    shares_a_day: int
    circuit: int
    isin: str


@dataclass(frozen=True, slots=True)
class IndexFact:
    """An index: its listing, its base level in rupees and which members' listings it is made of (none: of options)."""

    symbol: str
    exchange: str
    exchange_token: int
    rupees: int
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """One row of the exchange: what a token stands for. `segment` is the token's last byte."""

    token: int
    exchange_token: int
    exchange: str
    segment: int
    symbol: str
    name: str
    sector: str
    isin: str

    @property
    def is_index(self) -> bool:
        return self.segment == SEGMENT_INDEX

    @property
    def key(self) -> str:
        """The name that quote calls use: `NSE:INFY`."""
        return f"{self.exchange}:{self.symbol}"


# symbol | name | NSE token | BSE code | sector | base rupees | daily volatility % | NSE shares a day, lakh | circuit %
_TABLE: Final = """
RELIANCE|RELIANCE INDUSTRIES|2885|500325|ENERGY|1420|1.2|95|10
TCS|TATA CONSULTANCY SERV|11536|532540|IT|3350|1.1|22|10
HDFCBANK|HDFC BANK|1333|500180|BANK|985|1.0|160|10
INFY|INFOSYS|1594|500209|IT|1560|1.3|68|10
ICICIBANK|ICICI BANK|4963|532174|BANK|1390|1.1|98|10
SBIN|STATE BANK OF INDIA|3045|500112|BANK|840|1.3|120|10
BHARTIARTL|BHARTI AIRTEL|10604|532454|TELECOM|1910|1.2|46|10
ITC|ITC|1660|500875|CONSUMER|412|0.9|110|10
HINDUNILVR|HINDUSTAN UNILEVER|1394|500696|CONSUMER|2440|0.9|15|10
LT|LARSEN & TOUBRO|11483|500510|INFRA|3620|1.2|18|10
KOTAKBANK|KOTAK MAHINDRA BANK|1922|500247|BANK|2030|1.1|24|10
AXISBANK|AXIS BANK|5900|532215|BANK|1120|1.3|75|10
BAJFINANCE|BAJAJ FINANCE|317|500034|FINANCE|930|1.5|62|10
BAJAJFINSV|BAJAJ FINSERV|16675|532978|FINANCE|2010|1.4|12|10
MARUTI|MARUTI SUZUKI INDIA|10999|532500|AUTO|12450|1.2|4|10
M&M|MAHINDRA & MAHINDRA|2031|500520|AUTO|3160|1.4|21|10
TATAMOTORS|TATA MOTORS|3456|500570|AUTO|690|1.7|105|10
BAJAJ-AUTO|BAJAJ AUTO|16669|532977|AUTO|8720|1.3|3|10
EICHERMOT|EICHER MOTORS|910|505200|AUTO|5540|1.3|4|10
HEROMOTOCO|HERO MOTOCORP|1348|500182|AUTO|4310|1.3|6|10
HCLTECH|HCL TECHNOLOGIES|7229|532281|IT|1610|1.3|23|10
WIPRO|WIPRO|3787|507685|IT|258|1.4|90|10
TECHM|TECH MAHINDRA|13538|532755|IT|1520|1.5|17|10
SUNPHARMA|SUN PHARMACEUTICAL IND|3351|524715|PHARMA|1690|1.1|20|10
CIPLA|CIPLA|694|500087|PHARMA|1495|1.1|14|10
DRREDDY|DR REDDYS LABORATORIES|881|500124|PHARMA|1265|1.2|16|10
DIVISLAB|DIVIS LABORATORIES|10940|532488|PHARMA|6180|1.4|3|10
APOLLOHOSP|APOLLO HOSPITALS|157|508869|PHARMA|7240|1.4|3|10
NTPC|NTPC|11630|532555|ENERGY|338|1.3|108|10
POWERGRID|POWER GRID CORP|14977|532898|ENERGY|288|1.2|92|10
ONGC|OIL AND NATURAL GAS|2475|500312|ENERGY|239|1.4|115|10
COALINDIA|COAL INDIA|20374|533278|ENERGY|386|1.3|72|10
BPCL|BHARAT PETROLEUM CORP|526|500547|ENERGY|331|1.5|66|10
ADANIENT|ADANI ENTERPRISES|25|512599|INFRA|2460|2.1|12|5
ADANIPORTS|ADANI PORTS & SEZ|15083|532921|INFRA|1385|1.7|26|10
ULTRACEMCO|ULTRATECH CEMENT|11532|532538|INFRA|12180|1.2|3|10
GRASIM|GRASIM INDUSTRIES|1232|500300|INFRA|2740|1.2|7|10
BEL|BHARAT ELECTRONICS|383|500049|INFRA|398|1.7|118|10
TATASTEEL|TATA STEEL|3499|500470|METAL|162|1.6|240|10
JSWSTEEL|JSW STEEL|11723|500228|METAL|1035|1.5|19|10
HINDALCO|HINDALCO INDUSTRIES|1363|500440|METAL|702|1.6|55|10
ASIANPAINT|ASIAN PAINTS|236|500820|CONSUMER|2335|1.1|10|10
TITAN|TITAN COMPANY|3506|500114|CONSUMER|3480|1.2|9|10
NESTLEIND|NESTLE INDIA|17963|500790|CONSUMER|1205|1.0|11|10
BRITANNIA|BRITANNIA INDUSTRIES|547|500825|CONSUMER|5620|1.1|3|10
TATACONSUM|TATA CONSUMER PRODUCT|3432|500800|CONSUMER|1085|1.2|13|10
TRENT|TRENT|1964|500251|CONSUMER|5310|2.2|9|5
INDUSINDBK|INDUSIND BANK|5258|532187|BANK|828|2.0|58|5
HDFCLIFE|HDFC LIFE INSURANCE|467|540777|FINANCE|762|1.2|28|10
SHRIRAMFIN|SHRIRAM FINANCE|4306|511218|FINANCE|672|1.6|44|10
"""


def _isin(number: int) -> str:
    """Return an invented Indian ISIN with a valid check digit (ISO 6166: letters as two digits, then Luhn)."""
    body = f"INE{number:03d}Z01010"[:11]
    digits = [int(d) for letter in body for d in str(int(letter, 36))]
    total = sum(sum(divmod(d * (2 if k % 2 == 0 else 1), 10)) for k, d in enumerate(reversed(digits)))
    return body + str(-total % 10)


def _companies() -> tuple[Company, ...]:
    rows = []
    for number, line in enumerate(_TABLE.strip().splitlines(), start=1):
        symbol, name, nse, bse, sector, rupees, volatility, lakh, circuit = line.split("|")
        rows.append(
            Company(
                symbol=symbol,
                name=name,
                nse=int(nse),
                bse=int(bse),
                sector=sector,
                rupees=int(rupees),
                volatility=float(volatility) / 100,
                shares_a_day=int(lakh) * 100_000,
                circuit=int(circuit),
                isin=_isin(number),
            )
        )
    return tuple(rows)


COMPANIES: Final = _companies()

INDICES: Final = (
    IndexFact("NIFTY 50", "NSE", 1001, 24_800, tuple(range(len(COMPANIES)))),
    IndexFact(
        "NIFTY BANK", "NSE", 1016, 55_400, tuple(i for i, company in enumerate(COMPANIES) if company.sector == "BANK")
    ),
    IndexFact("SENSEX", "BSE", 1, 81_300, tuple(range(30))),
    IndexFact("INDIA VIX", "NSE", 1035, 13, ()),
)


def seeded_listings() -> tuple[Listing, ...]:
    """Return the seeded market's 104 rows: the companies on NSE, the same on BSE, then the indices."""
    rows = []
    for exchange, segment in (("NSE", SEGMENT_NSE), ("BSE", SEGMENT_BSE)):
        for company in COMPANIES:
            number = company.nse if segment == SEGMENT_NSE else company.bse
            token = number << 8 | segment
            sector, isin = company.sector, company.isin
            rows.append(Listing(token, number, exchange, segment, company.symbol, company.name, sector, isin))
    for index in INDICES:
        token = index.exchange_token << 8 | SEGMENT_INDEX
        symbol = index.symbol
        rows.append(Listing(token, index.exchange_token, index.exchange, SEGMENT_INDEX, symbol, symbol, "INDEX", ""))
    return tuple(rows)


def session_groups(listings: Sequence[Listing], derivatives: Iterable[str] = ()) -> list[int]:
    """Return the group of session windows of each listing, as a client finds it; `derivatives` names underlyings."""
    nothing = [0] * len(listings)
    listed = parse_kite_dump(dump_csv(listings, nothing, nothing))
    return [session_group(row, frozenset(derivatives)) for row in listed.instruments()]


_COLUMNS: Final = (
    "instrument_token",
    "exchange_token",
    "tradingsymbol",
    "name",
    "last_price",
    "expiry",
    "strike",
    "tick_size",
    "lot_size",
    "instrument_type",
    "segment",
    "exchange",
)


def dump_csv(
    listings: Sequence[Listing],
    closes: Iterable[int],
    ticks: Iterable[int],
    exchange: str | None = None,
    contracts: Iterable[tuple[Any, ...]] = (),
) -> str:
    """Return the instruments dump as CSV, columns as the broker's (kite.trade/docs, Market quotes and instruments).

    `closes` and `ticks` are paise, one a listing; `contracts` are derivatives' rows as they are; `exchange` keeps the
    rows of one exchange.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row, close, tick in zip(listings, closes, ticks, strict=True):
        if exchange is not None and row.exchange != exchange:
            continue
        segment = "INDICES" if row.is_index else row.exchange
        prices = (close / 100, "", 0.0, 0 if row.is_index else tick / 100, 0 if row.is_index else 1)
        writer.writerow((row.token, row.exchange_token, row.symbol, row.name, *prices, "EQ", segment, row.exchange))
    writer.writerows(row for row in contracts if exchange in (None, row[-1]))
    return out.getvalue()
