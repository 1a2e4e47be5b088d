"""The daemon's HTTP door on the loopback address: health, metrics, resources, a stream of news, and the page.

It only reads, and has no state of its own: everything it says comes from a `Source`, which the daemon provides.
Its modules are imported one by one, because the settings need one of them and nothing of aiohttp.
"""
