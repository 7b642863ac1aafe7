"""A store with Amazon's S3 interface and a database server, both real and on this machine only."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[dict[str, str]]:
    """What a process needs to know to find the store, as it would for a store of its own network."""
    moto = pytest.importorskip("moto.server", reason="needs moto[server]")
    pytest.importorskip("s3fs", reason="needs the extra cloud")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    server.stop()


@pytest.fixture
def store(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The store as fsspec shows it, from this process."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    filesystem = fsspec.filesystem("s3")
    yield filesystem
    # A driver that is kept would keep the credentials too, which some tests take away.
    type(filesystem).clear_instance_cache()


@pytest.fixture
def bucket(store: Any) -> str:
    """A new, empty bucket's address."""
    name = f"sales-{uuid4().hex[:8]}"
    store.mkdir(name)
    return f"s3://{name}"


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    return tmp_path / "work"
