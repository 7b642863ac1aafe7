"""Object stores: how a URL such as `s3://bucket/key` is opened.

fsspec finds credentials by each cloud's usual means. It and the clouds' drivers are extras.
"""

from __future__ import annotations

from typing import Any, Final

from pipeline.core.errors import ImportToolError

REMOTE: Final = "://"
_EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}


def file_system(uri: str, problem: type[ImportToolError]) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path within it.

    Args:
        uri: The URL.
        problem: What to raise.

    Raises:
        problem: There is no driver for it.
    """
    scheme = uri.partition(REMOTE)[0]
    hint = f"Install the extra: pip install 'omneo-import[{_EXTRAS.get(scheme, 'cloud')}]'."
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]
    except ImportError:
        raise problem(f"{uri} is in an object store, and fsspec is not installed", hint=hint) from None
    try:
        filesystem, path = url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise problem(f"{uri} cannot be opened: {error}", hint=hint) from error
    return filesystem, path
