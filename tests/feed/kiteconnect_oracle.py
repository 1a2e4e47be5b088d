"""Parse frames with the official SDK, in its own interpreter: base64 JSON in, ticks with epoch times out."""

import base64
import json
import sys
from datetime import datetime

from kiteconnect import KiteTicker


def plain(value):
    """The SDK's times are naive local datetimes; the caller sets TZ to India's."""
    return value.timestamp() if isinstance(value, datetime) else str(value)


parser = object.__new__(KiteTicker)
frames = [base64.b64decode(text) for text in json.load(sys.stdin)]
json.dump([parser._parse_binary(frame) for frame in frames], sys.stdout, default=plain)
