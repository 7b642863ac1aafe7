"""The file system of a path or of a URL such as `s3://bucket/key`, both by fsspec.

fsspec finds credentials by each cloud's usual means. The clouds' drivers are extras.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pipeline.core.errors import ImportToolError, SettingsError

REMOTE: Final = "://"
_EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}
STORES: Final = (*_EXTRAS, "memory")
"""Schemes of the object stores that can be used."""
_CREDENTIALS: Final = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, and AWS_ENDPOINT_URL if not Amazon's",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""By extra: what gives its driver credentials, where the machine has no role."""


def how_to_reach(address: str) -> str:
    """A hint for an address in a store that cannot be read or written."""
    credentials = _CREDENTIALS.get(_EXTRAS.get(address.partition(REMOTE)[0], ""), "")
    return f"Check its address, and the credentials{f': {credentials}' if credentials else ''}."


@contextmanager
def store_errors(
    address: str, verb: str, *, named: str = "", passing: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn what a driver raises into a SettingsError; each cloud's driver has errors of its own.

    Args:
        address: What is used in the store.
        verb: What is done to it, as `read`.
        named: What it is called in the message; its address by default.
        passing: What is raised as it is.

    Raises:
        SettingsError: The driver raised anything else.
    """
    try:
        yield
    except passing:
        raise
    except Exception as error:
        raise SettingsError(
            f"{named or address} cannot be {verb}: {error}", hint=how_to_reach(address)
        ) from error


def file_system(address: str, problem: type[ImportToolError], **options: Any) -> tuple[Any, str]:
    """The fsspec file system of a path or URL, and the path within it; a local one is made absolute.

    Args:
        address: The path or URL.
        problem: What to raise.
        options: For the store's driver.

    Raises:
        problem: The driver for it is not installed, or the URL is malformed.
    """
    # Imported late, since commands that read no source do without it.
    if REMOTE not in address:
        from fsspec.implementations.local import LocalFileSystem

        return LocalFileSystem(), str(Path(address).expanduser().absolute())
    from fsspec.core import url_to_fs

    try:
        filesystem, path = url_to_fs(address, **options)
    except (ImportError, ValueError) as error:
        extra = _EXTRAS.get(address.partition(REMOTE)[0], "cloud")
        raise problem(
            f"{address} cannot be opened: {error}",
            hint=f"Install the extra: pip install 'omneo-import[{extra}]'.",
        ) from error
    return filesystem, path
