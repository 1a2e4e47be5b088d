"""A result at other slippages than the one that it was made with.

A trade's slippage is what its market orders paid beyond the middle of the touch that they met: half the spread that the
bar path states, and the depth that was walked. Limits name their own price. The kernel adds it up, fill by fill. Other
slippages keep the same trades: what a worse fill would have changed in later decisions (a stop set round another entry,
less cash) is not in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["MULTIPLES", "net_at"]

MULTIPLES: Final = (0.5, 1.0, 2.0)
"""Each result is told at these multiples of the slippage that it was made with."""


def net_at(net_paise: int, slippage_paise: int) -> Mapping[str, int]:
    """Return the net result at each of the multiples of the slippage: `net - (k - 1) * slippage`."""
    return {f"{multiple:g}": net_paise - round((multiple - 1) * slippage_paise) for multiple in MULTIPLES}
