"""A process that loads made-up transactions with others: `loader_process.py LEDGER COUNT OPTIONS`.

The tenant is in the environment, as for the command line. OPTIONS is JSON. What it did is its last line.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from pipeline.core.settings import connection_from_environment
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.ledger.ledger import SqlLedger
from tests.loading.tenant import batches_of, made, run_of


def main(address: str, count: str, options: str) -> int:
    some = [made(number) for number in range(int(count))]
    with SqlLedger(address) as ledger:
        result = deliver(
            run_of("r1", some),
            batches_of(some),
            connection_from_environment(),
            ledger,
            DeliveryOptions(**json.loads(options)),
        )
    print(json.dumps({**asdict(result.requests), "handled": result.handled, "error": str(result.error)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
