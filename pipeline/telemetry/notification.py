"""A notification about the last command, posted to an address."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pipeline.core.errors import SettingsError
from pipeline.core.settings import is_loopback
from pipeline.core.text.privacy import mask_text
from pipeline.telemetry.watch import OUTCOMES, REPORT_WITHIN_S, Ending, ReportFailed


@dataclass(frozen=True)
class Notification:
    """Posts the ending as JSON to an address: once, without following redirects.

    The object is the summary, where there is a run, with `command`, `exit_code`, `outcome` and `error`
    before it.

    Attributes:
        url: `https://`, or `http://` to a loopback address. It may hold a secret, so it is shown nowhere.

    Raises:
        SettingsError: The address is not one of these.
    """

    url: str = field(repr=False)

    def __post_init__(self) -> None:
        parts = _parts(self.url)
        secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        if not secure or not parts.hostname or parts.username or parts.password:
            raise SettingsError(
                "--notify wants an https:// address without user or password; http:// is allowed only to a "
                "loopback address such as 127.0.0.1."
            )

    def __call__(self, ending: Ending) -> None:
        """Post it."""
        body: dict[str, Any] = {
            "command": ending.command,
            "exit_code": ending.exit_code,
            "outcome": OUTCOMES.get(ending.exit_code, "signalled"),
            "error": mask_text(ending.error),
        }
        body |= ending.summary.as_dict() if ending.summary else {}
        import httpx

        host = _parts(self.url).hostname or ""
        timeout, by_environment = httpx.Timeout(REPORT_WITHIN_S), not is_loopback(host)
        try:
            # Only the head of the answer is read: its body may be of any length.
            with (
                httpx.Client(timeout=timeout, trust_env=by_environment, follow_redirects=False) as client,
                client.stream("POST", self.url, json=body) as answer,
            ):
                status, taken = answer.status_code, answer.is_success
        except Exception as error:
            # Wrong settings of proxies and certificates raise exceptions of any type.
            raise ReportFailed(f"{host} cannot be reached: {type(error).__name__}") from None
        if not taken:
            raise ReportFailed(f"{host} answered {status}")


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise SettingsError("--notify is not an address.") from None
    return parts
