"""The decoder beside the official SDK's parser, a plain reading of the layout, and hostile bytes."""

import base64
import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atmand.core.jit import JIT, kernel_rows
from atmand.core.ticks import MAX_TICKS, TICK, decoded_skipped, decoded_ticks
from atmand.feed.kite_decode import decode, decode_lines, tick_to_json

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
LENGTHS = (8, 28, 32, 44, 184)
SEGMENTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 0, 255)
GUARD = -0x0101010101010102


def frame_of(*bodies: bytes) -> bytes:
    return struct.pack(">H", len(bodies)) + b"".join(struct.pack(">H", len(body)) + body for body in bodies)


def reference(frame: bytes, room: int) -> tuple[list[dict[str, int]], int]:
    """A plain reading of the documented layout: the rows' scalar fields, and packets skipped."""
    if len(frame) < 2:
        return [], 0
    rows, skipped, at = [], 0, 2
    for _ in range(int.from_bytes(frame[:2], "big")):
        length = int.from_bytes(frame[at : at + 2], "big")
        body = frame[at + 2 : at + 2 + length]
        if at + 2 > len(frame) or len(body) < length:
            return rows, skipped + 1
        at += 2 + length
        if length not in LENGTHS or len(rows) == room:
            skipped += 1
            continue
        names = ["token", "last_price"]
        if length in (28, 32):
            names += ["high", "low", "open", "close", "change", "exchange_ns"]
        elif length > 32:
            names += ["last_quantity", "average_price", "volume", "buy_quantity", "sell_quantity"]
            names += ["open", "high", "low", "close", "last_trade_ns", "oi", "oi_high", "oi_low", "exchange_ns"]
        words = struct.unpack(f">{length // 4}I", body)
        row = dict.fromkeys((name for name in TICK.names if name not in ("bid", "ask")), 0)
        row |= dict(zip(names, words, strict=False)) | {"packet": length}
        row.pop("change", None)
        for name in ("last_trade_ns", "exchange_ns"):
            row[name] *= 1_000_000_000
        levels = [struct.unpack_from(">IIH", body, 64 + 12 * i) for i in range(10 if length == 184 else 0)]
        row["levels"] = [(price, quantity, orders) for quantity, price, orders in levels] or [(0, 0, 0)] * 10
        rows.append(row)
    return rows, skipped


def decoded(frame, room: int = MAX_TICKS) -> tuple[list[dict[str, int]], int]:
    """Decode into rows that are full of rubbish, with a guard row behind that must stay as it is."""
    table = np.frombuffer(bytearray(GUARD.to_bytes(8, "little", signed=True) * (TICK.itemsize // 8 * (room + 1))), TICK)
    result = int(decode(frame, kernel_rows(table[:room])))
    rows = []
    for tick in table[: decoded_ticks(result)]:
        row = {name: int(tick[name]) for name in TICK.names if name not in ("bid", "ask")}
        row["levels"] = [tuple(int(value) for value in level) for side in ("bid", "ask") for level in tick[side]]
        rows.append(row)
    untouched = table[decoded_ticks(result) :].view("i8")
    assert (untouched == GUARD).all()
    return rows, decoded_skipped(result)


any_body = st.one_of(*(st.binary(min_size=length, max_size=length) for length in LENGTHS), st.binary(max_size=200))


@settings(deadline=None)
@given(st.lists(any_body, max_size=8), st.integers(0, 9))
def test_frames_read_as_the_layout_says(bodies: list[bytes], room: int) -> None:
    frame = frame_of(*bodies)
    assert decoded(frame, room) == reference(frame, room)


@settings(deadline=None)
@given(st.lists(any_body, max_size=5), st.data())
def test_a_truncated_frame_gives_its_whole_packets_and_one_skipped(bodies: list[bytes], data: st.DataObject) -> None:
    frame = frame_of(*bodies)
    cut = frame[: data.draw(st.integers(0, len(frame)))]
    assert decoded(cut, 6) == reference(cut, 6)


@settings(deadline=None)
@given(st.binary(max_size=600), st.integers(0, 4))
def test_no_bytes_are_read_or_written_out_of_bounds(frame: bytes, room: int) -> None:
    assert decoded(frame, room) == reference(frame, room)


@pytest.mark.parametrize("name", json.loads((HERE / "corpus" / "expected.json").read_text()))
def test_a_nasty_frame_of_the_corpus_is_counted(name: str) -> None:
    expected = json.loads((HERE / "corpus" / "expected.json").read_text())[name]
    rows, skipped = decoded((HERE / "corpus" / name).read_bytes())
    assert [len(rows), skipped] == expected


def test_a_heartbeat_is_neither_tick_nor_skipped() -> None:
    assert decoded(b"\x00") == ([], 0)
    assert decoded(b"") == ([], 0)


def test_what_does_not_fit_the_table_is_skipped_and_counted() -> None:
    frame = frame_of(*(struct.pack(">II", token, 100) for token in range(1, 6)))
    rows, skipped = decoded(frame, 2)
    assert [row["token"] for row in rows] == [1, 2]
    assert skipped == 3


def test_bytes_and_arrays_decode_alike_and_nothing_compiles_late() -> None:
    frame = frame_of(bytes(range(184)), bytes(range(44)), bytes(range(32)), bytes(5))
    writable = np.frombuffer(bytearray(frame), np.uint8)
    assert decoded(frame) == decoded(np.frombuffer(frame, np.uint8)) == decoded(writable)
    if JIT:
        assert len(decode.signatures) == 2


def oracle(frames: list[bytes]) -> list[list[dict]]:
    """Run the official parser in its own interpreter, where one is installed."""
    python = os.environ.get("ATMAND_KITECONNECT_PYTHON", str(REPOSITORY / ".venv-kiteconnect" / "bin" / "python"))
    if not Path(python).exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"no interpreter with kiteconnect at {python}")
        pytest.skip("kiteconnect is not installed (ATMAND_KITECONNECT_PYTHON)")
    text = json.dumps([base64.b64encode(frame).decode() for frame in frames])
    environment = {**os.environ, "TZ": "Asia/Kolkata"}
    environment.pop("PYTHONPATH", None)
    command = [python, str(HERE / "kiteconnect_oracle.py")]
    answer = subprocess.run(command, input=text, env=environment, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def generated_body(rng: random.Random, length: int, segment: int) -> bytes:
    """A packet with random words, some at their extremes, of a given segment."""
    words = [rng.choice([rng.getrandbits(32), rng.randrange(1, 500_000), 0, 0xFFFFFFFF]) for _ in range(length // 4)]
    words[0] = rng.getrandbits(24) << 8 | segment
    return struct.pack(f">{length // 4}I", *words)


def generated_frames() -> list[bytes]:
    """Every length in every segment, then thousands of mixed packets, unknown lengths among them."""
    rng = random.Random(20260810)
    frames = [frame_of(generated_body(rng, length, segment)) for length in LENGTHS for segment in SEGMENTS]
    for _ in range(400):
        bodies = [
            generated_body(rng, rng.choice((*LENGTHS, 12, 48, 188)), rng.choice(SEGMENTS))
            for _ in range(rng.randrange(1, 20))
        ]
        frames.append(frame_of(*bodies))
    return frames


@pytest.mark.oracle
def test_ticks_equal_the_official_parser_in_every_length_and_segment() -> None:
    frames = generated_frames()
    theirs = oracle([*frames, b"\x00"])
    ours = [line["ticks"] for line in decode_lines([*frames, b"\x00"])]
    assert sum(map(len, theirs)) > 2000
    for frame_ours, frame_theirs in zip(ours, theirs, strict=True):
        assert frame_ours == frame_theirs
        assert [list(tick) for tick in frame_ours] == [list(tick) for tick in frame_theirs]


def test_the_recorded_quote_packet_reads_as_its_description() -> None:
    data = os.environ.get("ATMAND_TEST_DATA")
    if not data:
        pytest.skip("ATMAND_TEST_DATA is not set")
    body = base64.b64decode((Path(data) / "kite" / "ticker_quote.packet").read_text())
    said = json.loads((Path(data) / "kite" / "ticker_quote.json").read_text())
    [line] = decode_lines([frame_of(body)])
    [tick] = line["ticks"]
    names = {
        "last_quantity": "last_traded_quantity",
        "average_price": "average_traded_price",
        "volume": "volume_traded",
        "buy_quantity": "total_buy_quantity",
        "sell_quantity": "total_sell_quantity",
    }
    del said["change"]  # the description carries another packet's
    assert {names.get(key, key): value for key, value in said.items()} == {
        k: v for k, v in tick.items() if k != "change"
    }
    assert tick["change"] == pytest.approx((1573.15 - 1567.80) * 100 / 1567.80)


def test_lines_number_their_frames_and_count_what_they_skip() -> None:
    ltp = struct.pack(">II", 408065, 157315)
    lines = list(decode_lines([b"\x00", frame_of(ltp, bytes(9)), frame_of(ltp)[:-1]]))
    tick = {"tradable": True, "mode": "ltp", "instrument_token": 408065, "last_price": 1573.15}
    assert lines == [
        {"frame": 0, "ticks": [], "skipped": 0},
        {"frame": 1, "ticks": [tick], "skipped": 1},
        {"frame": 2, "ticks": [], "skipped": 1},
    ]


@pytest.mark.parametrize("length", LENGTHS)
def test_a_row_that_was_full_before_keeps_nothing_of_it(length: int) -> None:
    ticks = np.zeros(1, TICK)
    decode(frame_of(b"\xff" * 184), kernel_rows(ticks))
    decode(frame_of(bytes(length)), kernel_rows(ticks))
    expected = np.zeros(1, TICK)
    expected["packet"] = length
    assert ticks.tobytes() == expected.tobytes()
    assert tick_to_json(ticks[0])["last_price"] == 0


@pytest.mark.process
def test_compiled_checked_and_interpreted_code_give_the_same_bytes(tmp_path: Path) -> None:
    """Bounds checking would raise on any access outside; the interpreter would on any index outside."""
    variants = {"compiled": {}, "checked": {"NUMBA_BOUNDSCHECK": "1"}, "interpreted": {"NUMBA_DISABLE_JIT": "1"}}
    digests = {}
    for name, variant in variants.items():
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **variant}
        if name == "checked":
            environment["NUMBA_CACHE_DIR"] = str(tmp_path)  # the cache does not tell checked code from other
        command = [sys.executable, str(HERE / "decode_digest.py")]
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert answer.returncode == 0, answer.stderr
        digests[name] = answer.stdout
    assert digests["compiled"] == digests["checked"] == digests["interpreted"]
