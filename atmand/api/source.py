"""What the API asks the daemon for. The daemon's composition implements it; `resources.py` has the answers' shapes."""

from __future__ import annotations

from typing import Any, Final, Literal, Protocol, get_args

from atmand.api.metrics import Measures

__all__ = ["HEALTHS", "Document", "Health", "Source"]

Document = dict[str, Any]
"""An answer: what JSON can say, of the shape that `resources.py` defines."""
Health = Literal["live", "startup", "ready", "trading"]
HEALTHS: Final[tuple[Health, ...]] = get_args(Health)


class Source(Protocol):
    """The daemon, as the API sees it.

    Plain methods run on the daemon's loop and must return at once; the others may wait for a thread. An
    `AtmandError` becomes an answer that says so: a `UsageError` 400, any other 503.
    """

    def status(self) -> Document:
        """Return where everything stands."""

    def positions(self) -> Document:
        """Return what is open."""

    def orders(self) -> Document:
        """Return the orders that the books keep."""

    def params(self) -> Document:
        """Return the parameters in force."""

    def reload(self) -> Document:
        """Return what the last reload of the configuration came to, and how many were asked for."""

    async def trades(self, *, limit: int, before: str | None, strategy: str | None, past: bool) -> Document:
        """Return closed trades, the newest first: those older than the trade `before`; `past` false leaves the
        simulated past out."""

    async def trade(self, trade_id: str) -> Document | None:
        """Return one trade and what led to it; None for an unknown one."""

    async def equity(self, *, points: int) -> Document:
        """Return equity over time, at most `points` of each account and strategy, the newest among them."""

    def health(self, name: Health) -> list[str]:
        """Return the reasons against; none means well."""

    def measures(self) -> Measures:
        """Return the numbers for /metrics."""
