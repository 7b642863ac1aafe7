"""Airflow 3: import last night's sales into Omneo. It needs no Airflow connection: the token is in a file."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

if TYPE_CHECKING:  # Airflow reads this file again and again, so the package is imported within the tasks
    from pipeline import CommandResult, Event, Target

TENANT = {"OMNEO_TENANT": "acme"}
TOKEN_FILE = Path("/etc/omneo-import/token")
MAPPING = "/etc/omneo-import/shop.yaml"
SOURCES = ["s3://acme-exports/pos/"]
WORKDIR = Path("/var/lib/omneo-import")  # on a disk that every worker of this DAG sees
OUTAGE, NOT_THERE = 5, 4  # these pass by themselves; every other exit code needs a person

log = logging.getLogger(__name__)


def show(event: "Event") -> None:
    """Write what happens into the task's log, but for the counting."""
    if event.name != "progress":
        log.info("%s %s", event.name, event.fields())


def ended_well(work: "Callable[[], CommandResult]", *passing: int) -> "CommandResult":
    """Do a part of the import; the exit codes in `passing` are tried again, others fail the task for good."""
    from pipeline import ImportToolError, NothingNew, WorkdirBusy

    try:
        result = work()
        code, why = result.exit_code, str(result.error or f"see {result.summary.report}")
    except (NothingNew, WorkdirBusy) as reason:
        raise AirflowSkipException(str(reason)) from None
    except ImportToolError as error:
        code, why = error.exit_code, str(error)
    if code == 0:
        return result
    if code in passing:
        raise RuntimeError(f"exit code {code}: {why}")
    raise AirflowFailException(f"exit code {code}: {why}")


def target_of(run_id: str) -> "Target":
    """The run and the tenant."""
    from pipeline import Target, connection_from_environment

    return Target(WORKDIR, run_id, connection_from_environment(TOKEN_FILE, TENANT), emit=show)


@dag(schedule="30 3 * * *", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False, max_active_runs=1)
def omneo_import():
    """One run a night. Each imports whatever is new, so there is no catching up after a failed night."""

    @task(retries=2, retry_delay=timedelta(minutes=10))
    def prepare_sales() -> str:
        """Stage what is new; gives the run's id."""
        from pipeline import FileSelection, Limit, PrepareOptions, connection_from_environment, prepare

        options = PrepareOptions(
            max_rejected=Limit.of("2%"),
            files=FileSelection(settle=timedelta(minutes=10)),
            base_url=connection_from_environment(TOKEN_FILE, TENANT).base_url,
        )
        return ended_well(lambda: prepare(WORKDIR, MAPPING, SOURCES, options, show)).summary.run_id

    @task(retries=12, retry_delay=timedelta(minutes=10))
    def load_sales(run_id: str) -> str:
        """Send the run; after an outage or a kill the next try goes on where it was."""
        from pipeline import load

        ended_well(lambda: load(target_of(run_id)), OUTAGE)
        return run_id

    @task(retries=3, retry_delay=timedelta(minutes=30))
    def confirm_sales(run_id: str) -> None:
        """Look up what was sent; what is not there yet may still be in Omneo's queue."""
        from pipeline import confirm

        ended_well(lambda: confirm(target_of(run_id)), OUTAGE, NOT_THERE)

    confirm_sales(load_sales(prepare_sales()))


omneo_import()
