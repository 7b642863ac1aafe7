"""Dagster: import last night's sales into Omneo."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import dagster as dg

from pipeline import (
    CommandResult,
    Event,
    FileSelection,
    ImportToolError,
    Limit,
    NothingNew,
    PrepareOptions,
    Target,
    WorkdirBusy,
    confirm,
    connection_from_environment,
    load,
    prepare,
)

TENANT = {"OMNEO_TENANT": "acme"}
TOKEN_FILE = Path("/etc/omneo-import/token")
MAPPING = "/etc/omneo-import/shop.yaml"
SOURCES = ["s3://acme-exports/pos/"]
WORKDIR = Path("/var/lib/omneo-import")
OUTAGE, NOT_THERE = 5, 4  # these pass by themselves; every other exit code needs a person

RETRIES = dg.RetryPolicy(max_retries=12, delay=600)


def ended_well(work: Callable[[], CommandResult], *passing: int) -> CommandResult | None:
    """Do a part of the import; the exit codes in `passing` are tried again, others fail the op for good.

    None where there was nothing to do.
    """
    try:
        result = work()
        code, why = result.exit_code, str(result.error or f"see {result.summary.report}")
    except (NothingNew, WorkdirBusy):
        return None
    except ImportToolError as error:
        code, why = error.exit_code, str(error)
    if code:
        raise dg.Failure(f"exit code {code}: {why}", allow_retries=code in passing)
    return result


def target_of(context: dg.OpExecutionContext, run_id: str) -> Target:
    """The run and the tenant."""
    connection = connection_from_environment(TOKEN_FILE, TENANT)
    return Target(WORKDIR, run_id, connection, emit=lambda event: show(context, event))


def show(context: dg.OpExecutionContext, event: Event) -> None:
    """Write what happens into the op's log, but for the counting."""
    if event.name != "progress":
        context.log.info(f"{event.name} {event.fields()}")


@dg.op(out=dg.Out(str, is_required=False), retry_policy=RETRIES)
def prepare_sales(context: dg.OpExecutionContext):
    """Stage what is new; gives the run's id, or nothing where nothing is new."""
    options = PrepareOptions(
        max_rejected=Limit.of("2%"),
        files=FileSelection(settle=timedelta(minutes=10)),
        base_url=connection_from_environment(TOKEN_FILE, TENANT).base_url,
    )
    result = ended_well(
        lambda: prepare(WORKDIR, MAPPING, SOURCES, options, lambda event: show(context, event))
    )
    if result:
        yield dg.Output(result.summary.run_id)


@dg.op(retry_policy=RETRIES)
def load_sales(context: dg.OpExecutionContext, run_id: str) -> str:
    """Send the run; after an outage or a kill the next try goes on where it was."""
    ended_well(lambda: load(target_of(context, run_id)), OUTAGE)
    return run_id


@dg.op(retry_policy=RETRIES)
def confirm_sales(context: dg.OpExecutionContext, run_id: str) -> None:
    """Look up what was sent; what is not there yet may still be in Omneo's queue."""
    ended_well(lambda: confirm(target_of(context, run_id)), OUTAGE, NOT_THERE)


@dg.job
def omneo_import():
    """One night's import."""
    confirm_sales(load_sales(prepare_sales()))


nightly = dg.ScheduleDefinition(
    job=omneo_import, cron_schedule="30 3 * * *", execution_timezone="Australia/Melbourne"
)
defs = dg.Definitions(jobs=[omneo_import], schedules=[nightly])
