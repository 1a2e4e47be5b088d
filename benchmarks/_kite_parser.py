"""The official SDK's parser behind a pipe, in an interpreter of its own; started by `decode_beside_sdk.py`.

A line in is `{"load": base64}`, answered with the frame's ticks, or `{"repeat": n}`, answered with the seconds of
processor time that parsing it so often took. The first line out names the version.
"""

import base64
import json
import sys
import time
from datetime import datetime
from importlib import metadata

from kiteconnect import KiteTicker


def plain(value: object) -> object:
    """Turn the SDK's naive local times into epoch seconds; the caller sets TZ to India's."""
    return int(value.timestamp()) if isinstance(value, datetime) else str(value)


def main() -> None:
    parse = object.__new__(KiteTicker)._parse_binary
    frame = b""
    print(json.dumps({"version": metadata.version("kiteconnect")}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        if "load" in question:
            frame = base64.b64decode(question["load"])
            print(json.dumps({"ticks": parse(frame)}, default=plain), flush=True)
            continue
        began = time.process_time()
        for _ in range(question["repeat"]):
            parse(frame)
        print(json.dumps({"seconds": time.process_time() - began}), flush=True)


if __name__ == "__main__":
    main()
