"""Orders, trades, positions, holdings and funds as the broker's REST calls spell them (kite.trade/docs, Orders)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from atmand.sim.account import Holding, Position
from atmand.sim.broker import Broker, Fill, Order, OrderError
from atmand.sim.quotes import ist_text

__all__ = ["order_routes", "order_row"]

_Admit = Callable[[web.Request], None]
_VARIETIES: Final = ("regular",)


def order_routes(
    broker: Broker,
    admit: _Admit,
    success: Callable[[Any], web.Response],
    failure: Callable[[int, str, str], web.Response],
) -> list[web.RouteDef]:
    """Return the calls on one broker; `admit` refuses a caller, the other two make the envelopes."""

    def answered(call: Callable[[web.Request], Awaitable[Any]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            admit(request)
            try:
                return success(await call(request))
            except OrderError as error:
                return failure(error.status, error.kind, error.message)

        return handle

    calls = _Calls(broker)
    return [
        web.post("/orders/{variety}", answered(calls.place)),
        web.put("/orders/{variety}/{id}", answered(calls.modify)),
        web.delete("/orders/{variety}/{id}", answered(calls.cancel)),
        web.get("/orders", answered(calls.orders)),
        web.get("/orders/{id}/trades", answered(calls.trades)),
        web.get("/orders/{id}", answered(calls.order)),
        web.get("/trades", answered(calls.trades)),
        web.get("/portfolio/positions", answered(calls.positions)),
        web.get("/portfolio/holdings", answered(calls.holdings)),
        web.get("/user/margins", answered(calls.margins)),
    ]


class _Calls:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def place(self, request: web.Request) -> Any:
        self._variety(request)
        form = {name: str(value) for name, value in (await request.post()).items()}
        return {"order_id": self._broker.place(form).id}

    async def modify(self, request: web.Request) -> Any:
        self._variety(request)
        form = {name: str(value) for name, value in (await request.post()).items()}
        return {"order_id": self._broker.modify(request.match_info["id"], form).id}

    async def cancel(self, request: web.Request) -> Any:
        self._variety(request)
        return {"order_id": self._broker.cancel(request.match_info["id"]).id}

    async def orders(self, request: web.Request) -> Any:
        return [order_row(order) for order in self._broker.orders.values()]

    async def order(self, request: web.Request) -> Any:
        order = self._broker.orders.get(request.match_info["id"])
        if order is None:
            raise OrderError("OrderException", "Couldn't find that `order_id`.", 404)
        return [order_row(order)]

    async def trades(self, request: web.Request) -> Any:
        wanted = request.match_info.get("id")
        return [_trade_row(fill) for fill in self._broker.fills if wanted in (None, fill.order.id)]

    async def positions(self, request: web.Request) -> Any:
        rows = [self._position_row(position) for position in self._broker.account.positions.values()]
        return {"net": rows, "day": [row for row in rows if row["buy_quantity"] or row["sell_quantity"]]}

    async def holdings(self, request: web.Request) -> Any:
        return [self._holding_row(holding) for holding in self._broker.account.holdings.values()]

    async def margins(self, request: web.Request) -> Any:
        cash = self._broker.account.cash / 100
        available = {"cash": cash, "opening_balance": cash, "live_balance": cash, "collateral": 0, "intraday_payin": 0}
        return {"equity": {"enabled": True, "net": cash, "available": available | {"adhoc_margin": 0}, "utilised": {}}}

    def _variety(self, request: web.Request) -> None:
        if request.match_info["variety"] not in _VARIETIES:
            raise OrderError("InputException", "Invalid `variety`: the simulated broker takes regular orders")

    def _position_row(self, position: Position) -> dict[str, Any]:
        security, last = position.security, self._broker.last_price(position.security)
        worth = position.quantity * last - position.value
        return {
            "tradingsymbol": security.symbol,
            "exchange": security.exchange,
            "instrument_token": security.token,
            "product": position.product,
            "quantity": position.quantity,
            "overnight_quantity": position.overnight,
            "multiplier": 1,
            "average_price": position.value / position.quantity / 100 if position.quantity else 0,
            "last_price": last / 100,
            "value": -position.value / 100,
            "pnl": (position.realised + worth) / 100,
            "m2m": (position.realised + worth) / 100,
            "realised": position.realised / 100,
            "unrealised": worth / 100,
            "buy_quantity": position.bought,
            "buy_value": position.bought_value / 100,
            "sell_quantity": position.sold,
            "sell_value": position.sold_value / 100,
        }

    def _holding_row(self, holding: Holding) -> dict[str, Any]:
        security = self._broker.security_of(f"NSE:{holding.symbol}")
        last = 0 if security is None else self._broker.last_price(security)
        return {
            "tradingsymbol": holding.symbol,
            "exchange": "NSE",
            "isin": holding.isin or ("" if security is None else security.isin),
            "instrument_token": 0 if security is None else security.token,
            "product": "CNC",
            "quantity": holding.quantity,
            "t1_quantity": holding.arriving,
            "average_price": holding.value / holding.total / 100 if holding.total else 0,
            "last_price": last / 100,
            "pnl": (holding.total * last - holding.value) / 100,
        }


def order_row(order: Order) -> dict[str, Any]:
    """Return an order as the order book and the ticker's text messages have it."""
    security, placed, updated = order.security, ist_text(order.placed_ns), ist_text(order.updated_ns)
    return {
        "placed_by": "SIM001",
        "order_id": order.id,
        "exchange_order_id": None if order.status == "REJECTED" else f"1{order.id}",
        "parent_order_id": None,
        "status": order.status,
        "status_message": order.message or None,
        "status_message_raw": order.message or None,
        "order_timestamp": placed,
        "exchange_update_timestamp": updated,
        "exchange_timestamp": updated,
        "variety": "regular",
        "modified": order.modified > 0,
        "exchange": security.exchange,
        "tradingsymbol": security.symbol,
        "instrument_token": security.token,
        "order_type": order.type,
        "transaction_type": "BUY" if order.side > 0 else "SELL",
        "validity": order.validity,
        "product": order.product,
        "quantity": order.quantity,
        "disclosed_quantity": 0,
        "price": order.price / 100,
        "trigger_price": order.trigger / 100,
        "average_price": order.value / order.filled / 100 if order.filled else 0,
        "filled_quantity": order.filled,
        "pending_quantity": order.pending,
        "cancelled_quantity": order.cancelled,
        "market_protection": order.protection,
        "meta": {},
        "tag": order.tag or None,
        "guid": "",
    }


def _trade_row(fill: Fill) -> dict[str, Any]:
    order, time = fill.order, ist_text(fill.time_ns)
    return {
        "trade_id": fill.id,
        "order_id": order.id,
        "exchange_order_id": f"1{order.id}",
        "exchange": order.security.exchange,
        "tradingsymbol": order.security.symbol,
        "instrument_token": order.security.token,
        "product": order.product,
        "average_price": fill.price / 100,
        "quantity": fill.quantity,
        "transaction_type": "BUY" if order.side > 0 else "SELL",
        "fill_timestamp": time,
        "order_timestamp": time[11:],
        "exchange_timestamp": time,
    }
