"""A process that delivers made-up transactions, alone or with others, and may be killed.

It is `delivery_process.py WORKDIR COUNT OPTIONS`; the tenant is in the environment, as for the command line.
OPTIONS is JSON: those of a delivery, the `command` (`load`, `void` or `confirm`), and the address of a
`ledger` elsewhere.
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.settings import connection_from_environment
from pipeline.loading.delivery.decisions import InDoubtRule
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.http.endpoints import ENDPOINTS
from pipeline.loading.http.retry_policy import RetryPolicy
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.staging.workdir import Workdir
from pipeline.workflows.runs.workdir_lock import workdir_lock
from tests.command import clean_environment
from tests.forked import Forked
from tests.loading.tenant import batches_of, confirm_and_resend, made, run_of, void

if TYPE_CHECKING:
    from pipeline.testing import LocalOmneo


def start_delivery(workdir: Path, omneo: LocalOmneo, count: int, **options: Any) -> Forked:
    arguments = [workdir, count, json.dumps(options)]
    return Forked(
        "tests.loading.delivery.delivery_process", arguments, clean_environment(omneo.environment())
    )


def result_of(process: Forked, code: int = 0) -> dict[str, Any]:
    """Wait for a delivery to end with this exit code; gives what it printed last."""
    out, errors = process.communicate(timeout=600)
    assert process.returncode == code, errors
    result: dict[str, Any] = json.loads(out.splitlines()[-1]) if out else {}
    return result


def main(workdir: str, count: str, options: str) -> int:
    given = json.loads(options)
    policy = RetryPolicy(**given.pop("policy", {}))
    given["in_doubt"] = InDoubtRule(given.pop("in_doubt", "lookup"))
    given["endpoint"] = ENDPOINTS[given.pop("endpoint", "queue")]
    some = [made(n) for n in range(int(count))]
    stop = Stop()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stop.request())
    where, command = Path(workdir), given.pop("command", "load")
    address = given.pop("ledger", where / "ledger.db")
    delivery = DeliveryOptions(policy=policy, **given)
    where.mkdir(exist_ok=True)
    with workdir_lock(Workdir(where), command), SqlLedger(address) as ledger:
        print("begins", file=sys.stderr, flush=True)
        run = run_of("r1", some), batches_of(some), connection_from_environment(), ledger, delivery
        if command == "confirm":
            confirm_and_resend(*run, patience_s=1, stop=stop)
            return 0
        result = (void if command == "void" else deliver)(*run, stop=stop)
    outcome = {"delivered": result.status.delivered, "handled": result.handled, "error": result.error}
    print(json.dumps({**asdict(result.requests), **outcome}, default=str))
    return 143 if result.stopped else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
