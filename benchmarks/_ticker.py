"""A ticker in a process of its own: sends frames of full packets, paced or as fast as the client takes them.

Started by `event_loops.py`; prints its port. `GET /N/COUNT/US` answers with the WebSocket and, once the client has
subscribed, sends COUNT frames of N instruments, one every US microseconds (0 = no pause). A frame's last 8 bytes, which
no packet owns, are CLOCK_MONOTONIC in nanoseconds at the send.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import struct
import threading
import time
from typing import Final
from urllib.parse import urlparse

from atmand.start import prepare_compiler

prepare_compiler(None)

from _market import Tape  # noqa: E402

_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE: Final = b"\x88\x02\x03\xe8"


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = _until(connection, b"\r\n\r\n").decode()
        n, frames, pause_us = map(int, urlparse(request.split()[1]).path.strip("/").split("/"))
        tape = Tape(n)
        messages = [bytearray(_message(tape.frame(at_s) + bytes(8))) for at_s in range(1, frames + 1)]
        connection.sendall(_upgrade(request))
        connection.recv(1 << 20)
        with contextlib.suppress(ConnectionError, TimeoutError):  # the client leaves when it has what it wanted
            _send(connection, messages, pause_us * 1_000)
            connection.sendall(_CLOSE)
            connection.settimeout(5)
            connection.recv(1 << 10)


def _send(connection: socket.socket, messages: list[bytearray], pause_ns: int) -> None:
    due_ns = time.monotonic_ns()
    for message in messages:
        due_ns += pause_ns
        while pause_ns and (left_ns := due_ns - time.monotonic_ns()) > 0:
            time.sleep(left_ns / 1e9)
        struct.pack_into("<q", message, len(message) - 8, time.monotonic_ns())
        connection.sendall(message)


def _message(payload: bytes) -> bytes:
    """Put one binary message into a WebSocket frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x82, size)) + payload
    if size < 1 << 16:
        return struct.pack(">BBH", 0x82, 126, size) + payload
    return struct.pack(">BBQ", 0x82, 127, size) + payload


def _upgrade(request: str) -> bytes:
    headers = dict(line.split(": ", 1) for line in request.split("\r\n")[1:] if ": " in line)
    key = next(value for name, value in headers.items() if name.lower() == "sec-websocket-key")
    digest = hashlib.sha1(key.encode() + _ACCEPT).digest()
    accept = base64.b64encode(digest).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ).encode()


def _until(connection: socket.socket, end: bytes) -> bytes:
    got = b""
    while end not in got:
        piece = connection.recv(1 << 16)
        if not piece:
            raise ConnectionError("closed before the request was whole")
        got += piece
    return got


if __name__ == "__main__":
    main()
