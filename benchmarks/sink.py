"""A sink for requests: nginx on loopback, answering 200 to everything and noting what it took."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

CONFIG = """\
daemon off;
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/error.log warn;
{user}
events {{ worker_connections 1024; }}
http {{
  log_format taken '$msec $request_method $content_length $status';
  access_log {home}/taken.log taken buffer=256k flush=1s;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  client_max_body_size 16m;
  client_body_buffer_size 1m;
  keepalive_requests 100000000;
  default_type application/json;
  server {{
    listen 127.0.0.1:{port} backlog=512;
    location = /status {{ access_log off; stub_status; }}
    location /api/v3/transactions/external/ {{ root {home}/files; }}
    location / {{ return 200 '{{"data":"OK"}}'; }}
  }}
}}
"""


@dataclass(frozen=True)
class Taken:
    """What a sink got.

    Attributes:
        posts: Requests with a body.
        gets: Requests without.
        body_bytes: Bytes of all bodies.
        refused: Answers other than 200.
        first_at: Unix time of the first answer; 0 where there was none.
        last_at: Of the last.
    """

    posts: int
    gets: int
    body_bytes: int
    refused: int
    first_at: float
    last_at: float

    @property
    def seconds(self) -> float:
        """From the first answer to the last: start-up of the sender is not in it."""
        return max(self.last_at - self.first_at, 0.001)


class Sink:
    """nginx for the length of a `with`; use one for each measurement.

    Args:
        home: A directory of its own; files below `files/` are what look-ups find.
        port: As of a sink before, to be the same tenant; None for a free one.
    """

    def __init__(self, home: Path, port: int | None = None) -> None:
        self._home = home
        self.port = port or _free_port()
        self._asked = 0
        self.url = f"http://127.0.0.1:{self.port}/api/v3"

    def __enter__(self) -> Self:
        self._home.mkdir(parents=True, exist_ok=True)
        (self._home / "taken.log").unlink(missing_ok=True)
        config = self._home / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(CONFIG.format(home=self._home, port=self.port, user=user))
        self._nginx = subprocess.Popen(
            ["nginx", "-e", self._home / "error.log", "-c", config], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while not self._answers():
            if self._nginx.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nginx does not start: {(self._home / 'error.log').read_text()}")
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._nginx.send_signal(signal.SIGQUIT)  # ends in order, so that its log is whole
        self._nginx.wait(30)

    def requests(self) -> int:
        """How many it has had so far, these questions left out."""
        with socket.create_connection(("127.0.0.1", self.port)) as asked:
            asked.sendall(b"GET /status HTTP/1.0\r\n\r\n")
            said = asked.makefile().read()
        self._asked += 1
        return int(said.split("requests\n")[1].split()[2]) - self._asked

    def taken(self) -> Taken:
        """What it got; known once it has ended."""
        posts = gets = size = refused = 0
        first_at = last_at = 0.0
        with (self._home / "taken.log").open() as log:
            for line in log:
                at, method, length, status = line.split()
                first_at = first_at or float(at)
                last_at = max(last_at, float(at))
                posts += method == "POST"
                gets += method == "GET"
                size += int(length) if length.isdigit() else 0
                refused += status != "200"
        return Taken(posts, gets, size, refused, first_at, last_at)

    def _answers(self) -> bool:
        try:
            self.requests()
        except OSError:
            return False
        return True


class BatchSink:
    """A server for batches for the length of a `with`; see `benchmarks.batch_sink`.

    Args:
        home: A directory for what it writes.
        port: As of a sink before, to be the same tenant; None for a free one.
    """

    def __init__(self, home: Path, port: int | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._out = home / "batches.json"
        self.port = port or _free_port()
        self.url = f"http://127.0.0.1:{self.port}/api/v3"

    def __enter__(self) -> Self:
        self._out.unlink(missing_ok=True)
        command = [sys.executable, "-m", "benchmarks.batch_sink", str(self.port), str(self._out)]
        self._server = subprocess.Popen(command)
        deadline = time.monotonic() + 10
        while not _is_open(self.port):
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the sink for batches does not start")
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.terminate()
        self._server.wait(30)

    def taken(self) -> Taken:
        """What it got; known once it has ended."""
        return Taken(**json.loads(self._out.read_text()))


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
