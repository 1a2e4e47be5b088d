"""atmand trades Indian equities on one event loop, from a journal that replays to the same decisions."""

__version__ = "0.1.0"
