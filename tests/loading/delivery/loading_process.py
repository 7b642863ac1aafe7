"""A process that delivers made-up transactions, to be killed: `loading_process.py WORKDIR COUNT OPTIONS`.

The tenant is in the environment, as for the command line. OPTIONS is JSON.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from pipeline.core.settings import connection_from_environment
from pipeline.loading.delivery.decisions import InDoubtRule
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.delivery.options import DeliveryOptions
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.http.endpoints import ENDPOINTS
from pipeline.loading.http.retry import RetryPolicy
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.staging.workdir import Workdir
from pipeline.workflows.workdir_lock import workdir_lock
from tests.loading.tenant import batches_of, made, run_of


def main(workdir: str, count: str, options: str) -> int:
    given = json.loads(options)
    policy = RetryPolicy(**given.pop("policy", {}))
    given["in_doubt"] = InDoubtRule(given.pop("in_doubt", "lookup"))
    given["endpoint"] = ENDPOINTS[given.pop("endpoint", "queue")]
    some = [made(n) for n in range(int(count))]
    stop = Stop()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stop.request())
    where = Path(workdir)
    with workdir_lock(Workdir(where), "load"), SqlLedger(where / "ledger.db") as ledger:
        result = deliver(
            run_of("r1", some),
            batches_of(some),
            connection_from_environment(),
            ledger,
            DeliveryOptions(policy=policy, **given),
            stop=stop,
        )
    print(json.dumps({"delivered": result.status.delivered, "handled": result.handled}))
    return 143 if result.stopped else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
