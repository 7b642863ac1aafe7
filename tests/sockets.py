"""What only the other end of a connection knows."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path


def sends_at_once(client: socket.socket) -> bool:
    """Whether the server's end of a connection has TCP_NODELAY; the server runs in this process."""
    for descriptor in Path("/dev/fd").iterdir():
        with suppress(OSError), socket.socket(fileno=os.dup(int(descriptor.name))) as other:
            if other.getpeername() == client.getsockname():
                return bool(other.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    raise LookupError("this process has no other end of the connection")
