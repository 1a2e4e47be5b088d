"""Why a strategy did not trade: the truth of each clause of its entry rules, the nearest misses, and what blocked.

The bars come from a recorded day or from a file; clauses are worth here what they were worth to the strategy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atmand.core.records import BarFlag, Kind
from atmand.core.words import OrderState, Purpose, Reason
from atmand.errors import UsageError
from atmand.lang.clauses import Clause, Clauses, Leaf, Node
from atmand.ledger.trades import AuditRow, audit_rows, market_time
from atmand.research.probe import Driven, Probe

__all__ = ["Asked", "answers", "is_named", "shortened", "told", "unknown_instrument"]

_ENDED: Final = (OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED)
_SIDES: Final = {"entry.long": 1, "entry.short": -1}
_FAR: Final = 1e300
"""Distance of a clause that has no numbers to tell one by."""


@dataclass(frozen=True)
class Asked:
    """What is asked about: a run with its probe, between two times."""

    probe: Probe
    driven: Driven
    from_ns: int = 0
    to_ns: int = np.iinfo(np.int64).max
    held: Mapping[str, int] = field(default_factory=dict)
    """Units held in an instrument before the first bar."""

    @property
    def name(self) -> str:
        return self.probe.deployment.book


def answers(asked: Asked, instrument: str | None = None, *, misses: int = 5) -> Iterator[dict[str, Any]]:
    """Yield documents: a `summary`, a `rule` for each entry rule, its nearest `miss`es, then every `bar`."""
    logs = _chosen(asked, instrument)
    tables = {key: _Table.of(asked.probe.clauses, rows) for key, rows in logs.items()}
    story = _Story(asked)
    bars = sum(len(each.rows) for each in tables.values())
    warming = sum(int((~each.ready).sum()) for each in tables.values())
    yield {
        "what": "summary",
        "strategy": asked.name,
        "instruments": list(tables),
        "first": _edge(tables, 0),
        "last": _edge(tables, -1),
        "bars": bars,
        "warming": warming,
    }
    for name, node in asked.probe.clauses.rules.items():
        rule = {"what": "rule", "rule": name, **_counted(asked.probe.clauses, node, tables)}
        yield rule | {"then": story.after(name, node, tables)}
        yield from _nearest(name, node, asked.probe.clauses, tables, misses)
    for key, each in tables.items():
        yield from _bars(key, each, asked.probe.clauses)


@dataclass(frozen=True, eq=False)
class _Table:
    """One instrument's bars: which clauses were true, and how far the others were."""

    rows: NDArray[Any]
    ready: NDArray[np.bool_]
    truth: NDArray[np.bool_]
    """(bars, clauses)"""
    away: NDArray[np.float64]
    """(bars, clauses): how far apart the sides were, in standard deviations of their difference over these bars."""

    @classmethod
    def of(cls, clauses: Clauses, rows: NDArray[Any]) -> _Table:
        values, ready = rows["values"], rows["ready"] == 1
        truth = np.zeros((len(rows), len(clauses.clauses)), np.bool_)
        away = np.full(truth.shape, _FAR)
        for place, clause in enumerate(clauses.clauses):
            truth[:, place] = ready & ((values[:, clause.value] == 1.0) != clause.negated)
            if clause.left >= 0:
                apart = values[:, clause.left] - values[:, clause.right]
                scale = float(apart[ready].std()) if ready.any() else 0.0
                away[:, place] = np.nan_to_num(np.abs(apart), nan=_FAR) / (scale if scale > 0 else 1.0)
        return cls(rows, ready, truth, away)

    def holds(self, node: Node, granted: int = -1) -> NDArray[np.bool_]:
        """Say on which bars a rule is true, with one clause taken for true."""
        if isinstance(node, Leaf):
            return self.ready if node.clause == granted else self.truth[:, node.clause]
        parts = np.stack([self.holds(part, granted) for part in node.parts])
        return np.asarray(parts.all(axis=0) if node.word == "all" else parts.any(axis=0))

    def missing(self, node: Node) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return how many clauses a rule lacked on each bar, and how far these were in sum."""
        if isinstance(node, Leaf):
            lacks = ~self.truth[:, node.clause]
            return lacks.astype(np.int64), np.where(lacks, self.away[:, node.clause], 0.0)
        counts, distances = map(np.stack, zip(*map(self.missing, node.parts), strict=True))
        if node.word == "all":
            return counts.sum(axis=0), distances.sum(axis=0)
        best = np.lexsort((distances, counts), axis=0)[:1]
        return np.take_along_axis(counts, best, 0)[0], np.take_along_axis(distances, best, 0)[0]


class _Story:
    """What became of the bars on which a rule was true, out of the audit."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._decided: dict[tuple[str, int, int], AuditRow] = {}
        self._held: dict[str, list[tuple[int, int]]] = {key: [(0, units)] for key, units in asked.held.items()}
        self._working: dict[str, list[list[int]]] = {}
        orders: dict[int, list[int]] = {}
        for row in audit_rows(asked.driven.rows):
            key = asked.driven.keys[row.instrument] if row.instrument >= 0 else ""
            if row.kind == Kind.AUDIT_DECISION:
                self._decided[key, row.value, row.side] = row
            elif row.kind == Kind.AUDIT_FILL:
                units = self._held.setdefault(key, [(0, 0)])
                units.append((row.time_ns, units[-1][1] + row.side * row.quantity))
            elif row.kind == Kind.AUDIT_INTENT and row.state == Purpose.ENTRY:
                orders[row.order] = [row.time_ns, np.iinfo(np.int64).max]
                self._working.setdefault(key, []).append(orders[row.order])
            elif row.kind == Kind.AUDIT_ORDER and row.order in orders and row.state in _ENDED:
                orders[row.order][1] = row.time_ns

    def after(self, rule: str, node: Node, tables: Mapping[str, _Table]) -> dict[str, int]:
        """Count what followed a rule that was true: `fired`, or what blocked it."""
        counts: dict[str, int] = {}
        for key, table in tables.items():
            for row in table.rows[table.holds(node)]:
                what = self._of(key, int(row["start_ns"]), int(row["marks"]), _SIDES[rule])
                counts[what] = counts.get(what, 0) + 1
        return dict(sorted(counts.items(), key=lambda each: -each[1]))

    def _of(self, key: str, start_ns: int, marks: int, side: int) -> str:
        decided = self._decided.get((key, start_ns, side))
        if decided is not None:
            return "fired" if decided.state == 1 else Reason(decided.reason).name.lower()
        end_ns = start_ns + self._asked.probe.period_ns
        if next((units for at, units in reversed(self._held.get(key, [])) if at <= end_ns), 0):
            return "position_open"
        if any(made <= end_ns <= ended for made, ended in self._working.get(key, [])):
            return "entry_working"
        if (key, start_ns, -side) in self._decided:
            return "other_side_first"
        return "bar_from_history" if marks & BarFlag.HISTORY else "not_decided"


def _chosen(asked: Asked, instrument: str | None) -> dict[str, NDArray[Any]]:
    logs = {
        key: rows[(rows["start_ns"] >= asked.from_ns) & (rows["start_ns"] < asked.to_ns)]
        for key, rows in asked.driven.log.items()
        if instrument is None or is_named(key, instrument)
    }
    if not logs:
        raise unknown_instrument(instrument, asked.name, list(asked.driven.log))
    if not any(map(len, logs.values())):
        raise UsageError("--from and --to", "no bar closed between them", "choose other times")
    return logs


def unknown_instrument(instrument: str | None, strategy: str, keys: Sequence[str]) -> UsageError:
    """Say that a strategy does not trade an instrument, and what it trades."""
    known = ", ".join(map(shortened, keys[:10])) or "none has a bar"
    return UsageError(f"instrument {instrument}", f"not one of {strategy}'s", f"it trades {known}")


def _counted(clauses: Clauses, node: Node, tables: Mapping[str, _Table]) -> dict[str, Any]:
    """Count how often a rule and each of its clauses were true, and how often a clause alone was missing."""
    told: list[dict[str, Any]] = []
    for place in sorted(set(_leaves(node))):
        alone = sum(int((table.holds(node, place) & ~table.holds(node)).sum()) for table in tables.values())
        true = sum(int(table.truth[:, place].sum()) for table in tables.values())
        told.append({"clause": clauses.clauses[place].text, "true": true, "alone_missing": alone})
    worst = max(told, key=lambda each: (each["alone_missing"], -each["true"]))
    return {
        "bars": sum(int(table.ready.sum()) for table in tables.values()),
        "true": sum(int(table.holds(node).sum()) for table in tables.values()),
        "clauses": told,
        "kills_most": worst["clause"],
    }


def _nearest(
    rule: str, node: Node, clauses: Clauses, tables: Mapping[str, _Table], most: int
) -> Iterator[dict[str, Any]]:
    """Yield the bars that were nearest to making a rule true, the nearest first."""
    found: list[tuple[int, float, int, str, int]] = []
    for key, table in tables.items():
        counts, distances = table.missing(node)
        places = np.flatnonzero(table.ready & ~table.holds(node))
        for at in places[np.lexsort((distances[places], counts[places]))[:most]].tolist():
            found.append((int(counts[at]), float(distances[at]), int(table.rows["start_ns"][at]), key, at))
    for count, distance, start_ns, key, at in sorted(found)[:most]:
        yield {
            "what": "miss",
            "rule": rule,
            "instrument": key,
            "ts": market_time(start_ns),
            "missing": count,
            "distance": round(distance, 4) if distance < _FAR else None,
            "clauses": [
                _clause(clauses.clauses[place], tables[key], at, place) for place in sorted(set(_leaves(node)))
            ],
        }


def _clause(clause: Clause, table: _Table, at: int, place: int) -> dict[str, Any]:
    told: dict[str, Any] = {"clause": clause.text, "true": bool(table.truth[at, place])}
    if clause.left >= 0:
        left, right = (float(table.rows["values"][at, column]) for column in (clause.left, clause.right))
        told |= {"left": left, "sign": clause.sign, "right": right, "away": abs(left - right)}
        told |= {"left_text": clause.left_text, "right_text": clause.right_text}
    return told


def _bars(key: str, table: _Table, clauses: Clauses) -> Iterator[dict[str, Any]]:
    holds = {name: table.holds(node) for name, node in clauses.rules.items()}
    numbers = {
        clauses.texts[column]: column
        for clause in clauses.clauses
        for column in (clause.left, clause.right)
        if column >= 0
    }
    for at, row in enumerate(table.rows):
        yield {
            "what": "bar",
            "instrument": key,
            "ts": market_time(int(row["start_ns"])),
            "ready": bool(table.ready[at]),
            "rules": {name: bool(truth[at]) for name, truth in holds.items()},
            "clauses": {clause.text: bool(table.truth[at, place]) for place, clause in enumerate(clauses.clauses)},
            "values": {text: float(row["values"][column]) for text, column in numbers.items()},
        }


def _leaves(node: Node) -> Iterator[int]:
    if isinstance(node, Leaf):
        yield node.clause
    else:
        for part in node.parts:
            yield from _leaves(part)


def _edge(tables: Mapping[str, _Table], place: int) -> str:
    times = [int(each.rows["start_ns"][place]) for each in tables.values() if len(each.rows)]
    return market_time(min(times) if place == 0 else max(times))


def is_named(key: str, name: str) -> bool:
    """Say whether a person means this instrument: by its key, as it is shown, or by its symbol alone."""
    return name.upper() in (key, shortened(key), key.rpartition(":")[2])


def shortened(key: str) -> str:
    """Write a share's key as people do: NSE:INFY for NSE:EQ:INFY."""
    parts = key.split(":")
    return f"{parts[0]}:{parts[2]}" if len(parts) == 3 and parts[1] == "EQ" else key


def told(documents: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Write the answers as lines for a screen: the summary, then each rule with its clauses and nearest misses."""
    misses = 0
    for each in documents:
        if each["what"] == "summary":
            names = [shortened(key) for key in each["instruments"]]
            several = names[0] if len(names) == 1 else f"{len(names)} instruments"
            span = f"from {each['first'][:16]} to {each['last'][:16]}"
            yield f"{each['strategy']}, {several}: {each['bars']:,} bars {span}"
            yield f"  {each['warming']:,} of them while indicators had no value yet"
        elif each["what"] == "rule":
            yield from _rule_words(each)
            misses = 0
        elif each["what"] == "miss":
            if not misses:
                yield "  nearest misses:"
            misses += 1
            where = f"{shortened(each['instrument'])} {each['ts'][:10]} {each['ts'][11:16]}"
            yield f"    {where}, {each['missing']} missing"
            yield from (
                f"      {'yes' if clause['true'] else 'NO '}  {_clause_words(clause)}" for clause in each["clauses"]
            )
        else:
            return


def _rule_words(rule: Mapping[str, Any]) -> Iterator[str]:
    of = max(1, rule["bars"])
    yield ""
    then = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in rule["then"].items())
    yield f"{rule['rule']} was true on {rule['true']:,} of {rule['bars']:,} bars{': ' + then if then else ''}"
    yield "       true  alone missing  clause"
    for clause in rule["clauses"]:
        mark = "  <- kills most" if clause["clause"] == rule["kills_most"] and len(rule["clauses"]) > 1 else ""
        yield f"  {clause['true'] / of:8.1%}  {clause['alone_missing']:13,}  {clause['clause']}{mark}"


def _clause_words(clause: Mapping[str, Any]) -> str:
    if "left" not in clause:
        return str(clause["clause"])
    if missing := [clause[f"{side}_text"] for side in ("left", "right") if math.isnan(clause[side])]:
        return f"{clause['clause']}: {' and '.join(missing)} missing"
    left = f"{clause['left_text']} = {clause['left']:.6g}"
    right = clause["right_text"]
    if not _is_number(right):
        right = f"{right} = {clause['right']:.6g}"
    crossing = "" if clause["clause"].startswith(clause["left_text"]) else f"{clause['clause'].partition('(')[0]}: "
    away = "" if clause["true"] else f": {clause['away']:.4g} away"
    if crossing and away and (clause["left"] > clause["right"]) == (clause["sign"] == ">"):
        away = ": is there already, did not cross"
    return f"{crossing}{left}, wanted {clause['sign']} {right}{away}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
