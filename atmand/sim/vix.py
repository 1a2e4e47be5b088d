"""The volatility index of the simulated market, out of the quotes of NIFTY's monthly options.

Source: NSE, India VIX computation methodology (white paper on nseindia.com), which is CBOE's of 2003 with the future as
the forward: two monthly expiries round 30 days, the nearer one left for the next when it ends within three days.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from atmand.sim.chain import YEAR_S, Chain
from atmand.sim.contracts import UNDERLYINGS

__all__ = ["vix"]

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]
_NAME: Final = "NIFTY"
_ROLL_S: Final = 3 * 86_400
_MONTH_S: Final = 30 * 86_400


def vix(chain: Chain, seconds: _Ints, spots: _Ints | _Floats) -> _Ints:
    """Return the index at seconds (n,) in hundredths of a percent, from the underlyings' prices (n, U) in paise."""
    ends = _ends(chain, int(seconds[0]))
    variance, years = [], []
    for end in ends:
        left = (end - seconds) / YEAR_S
        years.append(left)
        variance.append(_variance(chain, end, left, seconds, spots))
    month = _MONTH_S / YEAR_S
    share = (years[1] - month) / (years[1] - years[0])
    total = years[0] * variance[0] * share + years[1] * variance[1] * (1.0 - share)
    value: _Ints = np.rint(np.sqrt(np.maximum(total / month, 0.0)) * 10_000).astype(np.int64)
    return value


def _ends(chain: Chain, second: int) -> list[int]:
    """Return the ends of the two months that count, those that have a future."""
    rows = chain.contracts.rows
    number = [one.name for one in UNDERLYINGS].index(_NAME)
    ends = np.unique(rows["end"][(rows["underlying"] == number) & (rows["right"] == 0)])
    return [int(end) for end in ends if end - second > _ROLL_S][:2]


def _variance(chain: Chain, end: int, years: _Floats, seconds: _Ints, spots: _Ints | _Floats) -> _Floats:
    """Return the variance a year of one expiry, (n,), from the mids of what is out of the money."""
    rows = chain.contracts.rows
    of = np.flatnonzero((rows["underlying"] == 0) & (rows["end"] == end))
    future = of[rows["right"][of] == 0]
    calls, puts = of[rows["right"][of] > 0], of[rows["right"][of] < 0]
    strike = rows["strike"][calls].astype(np.float64)
    forward = chain.forward(seconds, spots, future)
    middle = np.maximum(np.searchsorted(strike, forward[:, 0], side="right") - 1, 0)[:, None]
    at = np.arange(len(strike))[None, :]
    call, put = _mids(chain, calls, seconds, spots), _mids(chain, puts, seconds, spots)
    quote = np.where(at > middle, call, np.where(at < middle, put, (call + put) / 2))
    width = np.gradient(strike)
    width[[0, -1]] = np.diff(strike)[[0, -1]]
    summed = (quote * (width / (strike * strike))).sum(axis=1)
    away = forward[:, 0] / strike[middle[:, 0]] - 1.0
    variance: _Floats = (2.0 * summed * np.exp(chain.model.rate * years) - away * away) / years
    return variance


def _mids(chain: Chain, columns: _Ints, seconds: _Ints, spots: _Ints | _Floats) -> _Floats:
    """Return the middles of the quotes in paise, (n, A); a contract that nobody bids for counts nothing."""
    quotes = chain.quotes(seconds, spots, columns)
    mids: _Floats = np.where(quotes.bid > 0, (quotes.bid + quotes.ask) / 2, 0.0)
    return mids
