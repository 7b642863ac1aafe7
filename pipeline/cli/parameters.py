"""Types of options: rates, times, sizes and shares become plain numbers here, once."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from pipeline.core.settings import Limit

_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)?")
_UNITS_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class RequestRate(click.ParamType[float]):
    """`600/min`, `10/s` or a bare number a minute; gives requests a minute."""

    name = "N/min"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse, or fail with what was expected."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:\s*/\s*(s|m|min|h))?", str(value).strip())
        if not found or float(found[1]) <= 0:
            self.fail(f"{value!r} is not a rate; expected something like 600/min or 10/s", param, ctx)
        return float(found[1]) * 60 / _UNITS_S[found[2] or "min"]


class RefusalLimit(click.ParamType[int | str]):
    """A count, or `off`."""

    name = "N|off"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Parse, or fail with what was expected."""
        text = str(value).strip().lower()
        if text == "off":
            return "off"
        if not re.fullmatch(r"[1-9]\d{0,8}", text):
            self.fail(f"{value!r} is not a number of refusals; expected one such as 50, or off", param, ctx)
        return int(text)


class PathOrUrl(click.ParamType[Path | str]):
    """A file, or the address of a database."""

    name = "PATH|URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """Return a path, or a URL as it is."""
        if isinstance(value, Path) or "://" in str(value):
            return value  # type: ignore[no-any-return]
        return Path(value).expanduser().absolute()


class DirectoryOrUrl(click.ParamType[Path | str]):
    """A directory, or the address of a prefix in an object store."""

    name = "DIR|URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """Return a path, or a URL as it is."""
        return value if isinstance(value, Path) or "://" in str(value) else Path(value)


class EngineName(click.ParamType[str]):
    """The name of an engine: `local`, `dask` or `dask://host:port`."""

    name = "ENGINE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the form, or fail with what was expected."""
        if not re.fullmatch(r"local|dask|dask://[^\s/:]+:\d+", str(value)):
            self.fail(f"{value!r} is not an engine; expected local, dask or dask://host:port", param, ctx)
        return str(value)


class Seconds(click.ParamType[float]):
    """`90`, `90s`, `15m`, `6h` or `2d`; gives seconds."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse, or fail with what was expected."""
        if isinstance(value, int | float):
            return float(value)
        found = _TIME.fullmatch(str(value).strip())
        if not found:
            self.fail(f"{value!r} is not a time; expected something like 90s, 15m or 6h", param, ctx)
        return float(found[1]) * _UNITS_S[found[2] or "s"]


class Age(Seconds):
    """`90d`, `12h`: a time with a unit, which must be given where a wrong guess would remove data."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse, or fail with what was expected."""
        found = _TIME.fullmatch(str(value).strip())
        if not found or not found[2]:
            self.fail(
                f"{value!r} is not a time with its unit; expected something like 90d or 12h", param, ctx
            )
        return super().convert(value, param, ctx)


class DateOrAge(click.ParamType[datetime]):
    """`2024-06-30`, `2024-06-30T22:00`, or `7d` for so long ago; gives a time with a time zone.

    Without an offset, the time zone is the local one.
    """

    name = "DATE|TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse, or fail with what was expected."""
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        try:
            if _TIME.fullmatch(text):
                return datetime.now(UTC) - timedelta(seconds=Seconds().convert(text, param, ctx))
            return datetime.fromisoformat(text).astimezone()
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is not a time; expected a date such as 2024-06-30 or 2024-06-30T22:00, or how "
                "long ago, such as 7d or 12h",
                param,
                ctx,
            )


class Share(click.ParamType[float]):
    """`5%` or `0.05`; gives a share above 0, up to 1."""

    name = "SHARE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse, or fail with what was expected."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%)?", str(value).strip())
        share = float(found[1]) / (100 if found[2] else 1) if found else 0
        if not 0 < share <= 1:
            self.fail(f"{value!r} is not a share; expected something like 5% or 0.05", param, ctx)
        return share


class Bytes(click.ParamType[int]):
    """`512M`, `2G` or a bare number of bytes; gives bytes."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse, or fail with what was expected."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+)\s*([kmg]?)i?b?", str(value).strip().lower())
        if not found:
            self.fail(f"{value!r} is not a size; expected something like 512M or 2G", param, ctx)
        return int(found[1]) * _UNITS_BYTES[found[2]]


class GateLimit(click.ParamType[Limit]):
    """`100` or `2%`."""

    name = "N|N%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Limit:
        """Parse, or fail with what was expected."""
        if isinstance(value, Limit):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%|(\d+)", str(value).strip())
        if not found or (found[1] and float(found[1]) > 100):
            self.fail(f"{value!r} is neither a count such as 100 nor a share such as 2%", param, ctx)
        if found[2]:
            return Limit(str(value).strip(), count=int(found[2]))
        return Limit(str(value).strip(), share=Decimal(found[1]) / 100)
