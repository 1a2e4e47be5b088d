"""The routes: which path answers what, out of the `Source`, and which are written through `Submit`."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Annotated, TypeVar

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from atmand.api.answers import BODY_LIMIT, Refusal, answer_failures, json_answer, secure
from atmand.api.door import Submit
from atmand.api.guard import Guard
from atmand.api.metrics import Scrape, exposition
from atmand.api.source import HEALTHS, Source
from atmand.api.statics import Statics
from atmand.api.stream import Streams
from atmand.api.writes import Writes
from atmand.hints import wording

__all__ = ["make_app"]

_Name = Annotated[str, Field(min_length=1, max_length=64)]
_Model = TypeVar("_Model", bound=BaseModel)


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _TradesQuery(_Query):
    limit: int = Field(100, ge=1, le=500)
    before: _Name | None = None
    strategy: _Name | None = None
    past: bool = True


class _EquityQuery(_Query):
    points: int = Field(1_000, ge=10, le=5_000)


def make_app(source: Source, streams: Streams, statics: Statics, guard: Guard, submit: Submit) -> web.Application:
    """Return the application; the server starts it and owns `streams`' task."""
    app = web.Application(middlewares=[answer_failures(guard.admit)], client_max_size=BODY_LIMIT)
    writes = Writes(guard, submit)
    answers = _Answers(source, streams, statics, guard, writes)
    app.on_response_prepare.append(secure)
    app.on_response_prepare.append(answers.count)
    app.add_routes(
        [
            web.get("/", answers.page),
            web.get("/static/{digest}/{name}", answers.asset),
            web.get("/health/{name}", answers.health),
            web.get("/metrics", answers.metrics),
            web.get("/v1/status", answers.status),
            web.get("/v1/positions", answers.positions),
            web.get("/v1/orders", answers.orders),
            web.get("/v1/params", answers.params),
            web.get("/v1/trades", answers.trades),
            web.get("/v1/trades/{trade_id}", answers.trade),
            web.get("/v1/equity", answers.equity),
            web.get("/v1/reload", answers.reload),
            web.get("/v1/stream", answers.stream, allow_head=False),
            *writes.routes(),
        ]
    )
    return app


class _Answers:
    """The handlers, and how many answers of each status there were."""

    def __init__(self, source: Source, streams: Streams, statics: Statics, guard: Guard, writes: Writes) -> None:
        self._source = source
        self._guard = guard
        self._writes = writes
        self._streams = streams
        self._statics = statics
        self._answered: Counter[int] = Counter()

    async def count(self, request: web.Request, response: web.StreamResponse) -> None:
        self._answered[response.status] += 1

    async def page(self, request: web.Request) -> web.StreamResponse:
        return await self._statics.index(request)

    async def asset(self, request: web.Request) -> web.StreamResponse:
        return await self._statics.asset(request, request.match_info["digest"], request.match_info["name"])

    async def health(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        for known in HEALTHS:
            if name == known:
                reasons = self._source.health(known)
                document = {"status": "unwell" if reasons else "ok", "reasons": reasons}
                return json_answer(document, 503 if reasons else 200)
        raise Refusal(404, request.path, "no such health resource", f"ask one of: {', '.join(HEALTHS)}")

    async def metrics(self, request: web.Request) -> web.Response:
        health: dict[str, bool] = {name: not self._source.health(name) for name in HEALTHS}
        scrape = Scrape(
            self._source.measures(),
            health,
            self._streams.clients,
            dict(self._answered),
            dict(self._guard.refused),
            dict(self._writes.done),
        )
        body = await asyncio.to_thread(exposition, scrape)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4, "Cache-Control": "no-store"})

    async def status(self, request: web.Request) -> web.Response:
        _query(request, _Query)
        return json_answer(self._source.status())

    async def positions(self, request: web.Request) -> web.Response:
        _query(request, _Query)
        return json_answer(self._source.positions())

    async def orders(self, request: web.Request) -> web.Response:
        _query(request, _Query)
        return json_answer(self._source.orders())

    async def params(self, request: web.Request) -> web.Response:
        _query(request, _Query)
        return json_answer(self._source.params())

    async def trades(self, request: web.Request) -> web.Response:
        asked = _query(request, _TradesQuery)
        found = self._source.trades(limit=asked.limit, before=asked.before, strategy=asked.strategy, past=asked.past)
        return json_answer(await found)

    async def trade(self, request: web.Request) -> web.Response:
        _query(request, _Query)
        trade_id = request.match_info["trade_id"]
        found = await self._source.trade(trade_id) if len(trade_id) <= 64 else None
        if found is None:
            raise Refusal(
                404, "/v1/trades", f"no trade is called {trade_id[:64]!r}", "see /v1/trades for those there are"
            )
        return json_answer(found)

    async def equity(self, request: web.Request) -> web.Response:
        return json_answer(await self._source.equity(points=_query(request, _EquityQuery).points))

    async def reload(self, request: web.Request) -> web.Response:
        _query(request, _Query)
        return json_answer(self._source.reload())

    async def stream(self, request: web.Request) -> web.StreamResponse:
        _query(request, _Query)
        return await self._streams.serve(request)


def _query(request: web.Request, model: type[_Model]) -> _Model:
    """Read the query string; 400 for a name that is unknown or a value that does not do."""
    try:
        return model.model_validate(dict(request.query))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"]))[:64]
        known = ", ".join(model.model_fields) or "none"
        unknown = first["type"] == "extra_forbidden"
        what = "not a parameter of this resource" if unknown else wording(first)
        raise Refusal(400, f"{request.path}: {name}", what, f"its parameters: {known}") from None
