"""How bars reach the generated steps: text of the functions between the core's fold and a program's structures.

It holds no more than the structures need: without other streams or comparisons a bar goes straight to its step.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from atmand.lang.structure import Structure

__all__ = ["fold_text", "only"]

_STEP: Final = '''
@kernel
def _step(arena, t, index, bar):
    """Fold a closed bar into a pair's indicators; what the strategy says of it is left in the pair's verdict."""
    pair = pair_at(t, index)
    scale = float(instrument_at(t, pair.instrument).price_scale)
    params_at = book_at(t, pair.book).params_at
    slab_at = pair.slab_at
    open_, high, low, close = bar.open / scale, bar.high / scale, bar.low / scale, bar.close / scale
    volume = float(bar.volume)
{cases}


@routine
def _forget(arena, t, index):
    """Set a pair's indicator state to nothing, so that it can be folded again."""
    pair = pair_at(t, index)
{sizes}
'''

_CASE: Final = """    if pair.structure == {index}:
        s = record_at(t, slab_at, STATE_{name})
        p = record_at(t, params_at, PARAMS_{name})
        {step}_{name}(t, index, s, p, bar, open_, high, low, close, volume)"""

_SIZE: Final = """    if pair.structure == {index}:
        arena[pair.slab_at : pair.slab_at + {state_bytes}] = 0"""

_STREAMS: Final = '''

@routine
def _fold_stream(t, subscription, bar):
    """Fold a closed bar of another stream into the state of the pair that looks at it."""
    row = subscription_at(t, subscription)
    index = row.pair
    pair = pair_at(t, index)
    scale = float(instrument_at(t, series_at(t, row.series).instrument).price_scale)
    params_at = book_at(t, pair.book).params_at
    slab_at = pair.slab_at
    open_, high, low, close = bar.open / scale, bar.high / scale, bar.low / scale, bar.close / scale
    volume = float(bar.volume)
{cases}


@routine
def _rewind(t, index):
    """Begin a pair's other streams at the oldest bars that are kept."""
    subscription = pair_at(t, index).first_subscription
    while subscription >= 0:
        row = subscription_at(t, subscription)
        series = series_at(t, row.series)
        row.folded_to = max(0, series.count - series.ring_size)
        subscription = row.next_in_pair


@routine
def _catch_up(t, index, until_ns):
    """Fold the bars of a pair's other streams that ended at or before a time."""
    subscription = pair_at(t, index).first_subscription
    while subscription >= 0:
        row = subscription_at(t, subscription)
        series = series_at(t, row.series)
        while row.folded_to < series.count:
            bar = ring_at(t, series.ring_at + row.folded_to % series.ring_size)
            if stream_end_ns(header_of(t), series.period_ns, bar.start_ns) > until_ns:
                break
            _fold_stream(t, subscription, bar)
            row.folded_to += 1
        subscription = row.next_in_pair


@routine
def _closed_elsewhere(t):
    """Fold what this record closed into the pairs that look at it from elsewhere, before any pair's own bar."""
    h = header_of(t)
    for number in range(h.n_closed):
        row = closed_at(t, number)
        subscription = series_at(t, row.series).first_subscription
        while subscription >= 0:
            _fold_stream(t, subscription, row.bar)
            subscription = subscription_at(t, subscription).next_in_series
'''

_STREAM_CASE: Final = """    if pair.structure == {index} and row.stream == {stream}:
        s = record_at(t, slab_at, STATE_{name})
        p = record_at(t, params_at, PARAMS_{name})
        stream_{name}_{number}(t, index, s, p, bar, open_, high, low, close, volume)"""

_FINISH: Final = '''

@kernel
def _is_staged(structure):
    """Say whether a structure compares instruments, so that its rules wait for all of them."""
    return {staged}


@kernel
def _finish(t, index, bar):
    """Let the rules of a structure that compares instruments say what they say of a bar."""
    pair = pair_at(t, index)
    scale = float(instrument_at(t, pair.instrument).price_scale)
    params_at = book_at(t, pair.book).params_at
    slab_at = pair.slab_at
    open_, high, low, close = bar.open / scale, bar.high / scale, bar.low / scale, bar.close / scale
    volume = float(bar.volume)
{cases}


@routine
def _closed_first(arena, t):
    """Fold what this record closed into every pair that compares instruments, before any of them is judged."""
    h = header_of(t)
    for number in range(h.n_closed):
        row = closed_at(t, number)
        index = series_at(t, row.series).first_pair
        while index >= 0:
            if _is_staged(pair_at(t, index).structure):
                _step(arena, t, index, row.bar)
            index = pair_at(t, index).next_in_series
'''

_FOLD: Final = '''

@routine
def _fold_again(arena, t):
    """Fold the ring's bars again into every pair whose state they no longer match; nothing is decided.

    What compares instruments speaks last, when all of them have put their numbers up.
    """
    header_of(t).refold = 0
    for index in range(header_of(t).pairs_n):
        pair = pair_at(t, index)
        if pair.folded or pair.series < 0:
            continue
        _forget(arena, t, index)
        series = series_at(t, pair.series)
        #streams _rewind(t, index)
        for number in range(max(0, series.count - series.ring_size), series.count):
            bar = ring_at(t, series.ring_at + number % series.ring_size)
            #streams _catch_up(t, index, stream_end_ns(header_of(t), series.period_ns, bar.start_ns))
            _step(arena, t, index, bar)
            pair.ready = verdict_at(t, index).flags & 1
        pair.folded = -1
    for index in range(header_of(t).pairs_n):
        pair = pair_at(t, index)
        if pair.folded >= 0:
            continue
        #staged series = series_at(t, pair.series)
        #staged if series.count > 0 and _is_staged(pair.structure):
            #staged _finish(t, index, ring_at(t, series.ring_at + (series.count - 1) % series.ring_size))
            #staged pair.ready = verdict_at(t, index).flags & 1
        #streams _catch_up(t, index, header_of(t).time_ns)
        pair.folded = 1


@routine
def _closed(arena, t):
    """Let the strategies of every bar that this record closed decide, then mark the books."""
    h = header_of(t)
    #streams _closed_elsewhere(t)
    #staged _closed_first(arena, t)
    for number in range(h.n_closed):
        row = closed_at(t, number)
        index = series_at(t, row.series).first_pair
        while index >= 0:
            #staged if _is_staged(pair_at(t, index).structure):
                #staged _finish(t, index, row.bar)
            #staged else:
                #staged _step(arena, t, index, row.bar)
            #plain _step(arena, t, index, row.bar)
            decide(t, index, row.bar)
            index = pair_at(t, index).next_in_series
    settle(t)
    h.n_closed = 0
    mark_books(t)


'''


def fold_text(structures: Sequence[Structure]) -> str:
    """Write how bars reach the steps, with no more than the structures need."""
    numbered = list(enumerate(structures))
    cases = [_CASE.format(index=index, name=structure.name, step="step") for index, structure in numbered]
    sizes = [_SIZE.format(index=index, state_bytes=structure.plan.state_bytes) for index, structure in numbered]
    streams = [
        _STREAM_CASE.format(index=index, stream=place, number=place + 1, name=structure.name)
        for index, structure in numbered
        for place in range(len(structure.plan.streams))
    ]
    staged = [(index, structure) for index, structure in numbered if structure.is_staged]
    text = _STEP.format(cases="\n".join(cases), sizes="\n".join(sizes))
    if streams:
        text += _STREAMS.format(cases="\n".join(streams))
    if staged:
        finish = [_CASE.format(index=index, name=structure.name, step="finish") for index, structure in staged]
        either = " or ".join(f"structure == {index}" for index, _ in staged)
        text += _FINISH.format(cases="\n".join(finish), staged=either)
    wanted = {"streams": bool(streams), "staged": bool(staged), "plain": not staged}
    return text + only(_FOLD, wanted)


def only(text: str, wanted: Mapping[str, bool]) -> str:
    """Keep the lines of a text whose mark is wanted, and those without one."""
    lines = []
    for line in text.split("\n"):
        mark = re.match(r"( *)#(\w+) ", line)
        if mark is None:
            lines.append(line)
        elif wanted[mark[2]]:
            lines.append(mark[1] + line[mark.end() :])
    return "\n".join(lines)
