"""Decode the corpus and seeded noise under whatever numba settings the environment has; print a digest of it all."""

import hashlib
import pathlib
import random
import struct

import numpy as np

from atmand.core.jit import kernel_rows
from atmand.core.ticks import TICK
from atmand.feed.kite_decode import decode

rng = random.Random(20260706)
frames = [path.read_bytes() for path in sorted((pathlib.Path(__file__).parent / "corpus").glob("*.bin"))]
for _ in range(150):
    lengths = rng.choices([8, 28, 32, 44, 184, 0, 7, 9, 183, 185], k=rng.randrange(6))
    frame = struct.pack(">H", len(lengths)) + b"".join(struct.pack(">H", n) + rng.randbytes(n) for n in lengths)
    frames.append(frame[: rng.randrange(len(frame) + 1)] if rng.random() < 0.3 else frame)
digest = hashlib.sha256()
ticks = np.zeros(4, TICK)
for frame in frames:
    for argument in (frame, np.frombuffer(frame, np.uint8)):
        digest.update(int(decode(argument, kernel_rows(ticks))).to_bytes(8, "big") + ticks.tobytes())
print(digest.hexdigest())
