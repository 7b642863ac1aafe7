"""Dagster: import last night's sales into Omneo."""

import subprocess

import dagster as dg

COMMAND = [
    "/usr/local/bin/omneo-import",
    *("run", "-m", "/etc/omneo-import/shop.yaml", "s3://acme-exports/pos/"),
    *("--workdir", "/var/lib/omneo-import", "--token-file", "/etc/omneo-import/token"),
    *("--max-rejected", "2%", "--log-format", "json"),
]
NEEDS_A_PERSON = {1, 2, 3, 4}
ALREADY_RUNNING = 6


@dg.op(retry_policy=dg.RetryPolicy(max_retries=12, delay=600))
def import_sales(context: dg.OpExecutionContext) -> None:
    """Run the import; only an outage or a kill is tried again."""
    code = subprocess.run(COMMAND, check=False).returncode
    if code == ALREADY_RUNNING:
        context.log.info("omneo-import is running already")
    elif code:
        raise dg.Failure(
            f"omneo-import ended with {code}; see its report", allow_retries=code not in NEEDS_A_PERSON
        )


@dg.job
def omneo_import():
    """One night's import."""
    import_sales()


nightly = dg.ScheduleDefinition(
    job=omneo_import, cron_schedule="30 3 * * *", execution_timezone="Australia/Melbourne"
)
defs = dg.Definitions(jobs=[omneo_import], schedules=[nightly])
