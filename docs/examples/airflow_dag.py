"""Airflow 3: import last night's sales into Omneo. It needs no Airflow connection: the token is in a file."""

import subprocess
from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

COMMAND = [
    "/usr/local/bin/omneo-import",
    *("run", "-m", "/etc/omneo-import/shop.yaml", "s3://acme-exports/pos/"),
    *("--workdir", "/var/lib/omneo-import", "--token-file", "/etc/omneo-import/token"),
    *("--max-rejected", "2%", "--log-format", "json"),
]
NEEDS_A_PERSON = {1, 2, 3, 4}
ALREADY_RUNNING = 6


@dag(schedule="30 3 * * *", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False, max_active_runs=1)
def omneo_import():
    """One run a night. Each imports whatever is new, so there is no catching up after a failed night."""

    @task(retries=12, retry_delay=timedelta(minutes=10))
    def import_sales():
        """Run the import; only an outage or a kill is tried again."""
        code = subprocess.run(COMMAND, check=False).returncode
        if code in NEEDS_A_PERSON:
            raise AirflowFailException(f"omneo-import ended with {code}; see its report")
        if code == ALREADY_RUNNING:
            raise AirflowSkipException("omneo-import is running already")
        if code:
            raise RuntimeError(f"omneo-import ended with {code}; the next try continues it")

    import_sales()


omneo_import()
