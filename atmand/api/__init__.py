"""The daemon's HTTP door: health, metrics, resources, a stream of news, the page, signals and commands.

It has no state of its own: everything it says comes from a `Source`, and everything it is told goes to a `Submit`; the
daemon provides both. Its modules are imported one by one, because the settings need one of them and nothing of aiohttp.
"""
