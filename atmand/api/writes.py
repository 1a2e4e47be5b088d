"""The handlers of requests that write: signals, and the operator's commands. All of them end in one `submit`."""

from __future__ import annotations

from collections import Counter

from aiohttp import web

from atmand.api.answers import json_answer
from atmand.api.bodies import ExitBody, NoBody, SignalBody, request_key, take, validated
from atmand.api.door import Operation, Sender, Signal, Submit, Write
from atmand.api.guard import WRITES, Guard
from atmand.api.tokens import Scope, Token
from atmand.core.records import Command
from atmand.ledger.trades import market_time

__all__ = ["Writes"]


class Writes:
    """The handlers, and how many requests of each kind were recorded."""

    def __init__(self, guard: Guard, submit: Submit) -> None:
        self._guard, self._submit = guard, submit
        self.done: Counter[str] = Counter()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes; their names tell the guard that the handler asks for the token."""
        return [
            web.post("/v1/signals/{name}", self.signal, name=f"{WRITES}signal"),
            web.post(r"/v1/strategies/{name}/{verb:pause|resume}", self.strategy, name=f"{WRITES}strategy"),
            web.post("/v1/exit", self.exit, name=f"{WRITES}exit"),
            web.post(r"/v1/entries/{verb:on|off}", self.entries, name=f"{WRITES}entries"),
        ]

    async def signal(self, request: web.Request) -> web.Response:
        self._guard.check_source(request)
        taken = await take(request, with_token=True)
        token = self._guard.sender(request, "signal", taken.secret)
        body = validated(request, SignalBody, taken.document)
        write = Signal(request.match_info["name"], float(body.value), body.instrument, body.valid_s)
        return await self._answer(request, token, write, body)

    async def strategy(self, request: web.Request) -> web.Response:
        token, body = await self._operator(request)
        code = Command.PAUSE_BOOK if request.match_info["verb"] == "pause" else Command.RESUME_BOOK
        return await self._answer(request, token, Operation(code, strategy=request.match_info["name"]), body)

    async def exit(self, request: web.Request) -> web.Response:
        token = self._guard.sender(request, "operate")
        body = validated(request, ExitBody, (await take(request)).document)
        write = Operation(Command.EXIT_POSITION, body.strategy, body.instrument, body.trade)
        return await self._answer(request, token, write, body)

    async def entries(self, request: web.Request) -> web.Response:
        token, body = await self._operator(request)
        code = Command.ENTRIES_ON if request.match_info["verb"] == "on" else Command.ENTRIES_OFF
        return await self._answer(request, token, Operation(code), body)

    async def _operator(self, request: web.Request, scope: Scope = "operate") -> tuple[Token, NoBody]:
        token = self._guard.sender(request, scope)
        return token, validated(request, NoBody, (await take(request)).document)

    async def _answer(self, request: web.Request, token: Token, write: Write, body: NoBody) -> web.Response:
        ack = await self._submit(write, Sender(token.actor, token.name, request_key(request, body)))
        if not ack.repeated:
            self.done["signal" if isinstance(write, Signal) else "command"] += 1
        document = {"sequence": ack.sequence, "market_time": market_time(ack.time_ns), **ack.done}
        # The same request gets the same answer; a header says that nothing was done again.
        return json_answer(document, headers={"Idempotent-Replayed": "true"} if ack.repeated else None)
