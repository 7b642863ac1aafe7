"""The command line: parses, calls `pipeline.workflows.run`, and shows what it gave. No work happens here.

Heavy libraries are imported by the commands that need them, so that `--help` answers at once.
"""

from __future__ import annotations

import atexit
import errno
import functools
import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import Field, asdict, dataclass, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from click import ParameterSource

from pipeline import __version__
from pipeline.cli.parameters import (
    Age,
    Bytes,
    Folder,
    LimitType,
    Moment,
    Place,
    Rate,
    Refusals,
    Seconds,
    Share,
    Where,
)
from pipeline.cli.streams import open_standard_streams, while_writable, write_line
from pipeline.core.errors import ImportToolError, MappingError, NothingNew, SettingsError
from pipeline.core.memory import Budget, keep_freed_memory, prefer_jemalloc, seldom_collecting
from pipeline.core.settings import base_url_from_environment, connection_from_environment
from pipeline.simulator import Faults

if TYPE_CHECKING:
    from pipeline.core.events import Emit
    from pipeline.loading.delivery.options import DeliveryOptions
    from pipeline.loading.delivery.stop import Stop
    from pipeline.report.summary import Summary
    from pipeline.telemetry.reporting import Watch
    from pipeline.workflows.delivery import Target
    from pipeline.workflows.run import PrepareOptions
    from pipeline.workflows.run_record import Finished

Function = TypeVar("Function", bound=Callable[..., Any])

BUG = 1
DISK_FAILS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def option(*names: str, **settings: Any) -> Callable[[Function], Function]:
    """A click option that can also be set as `OMNEO_IMPORT_<NAME>`."""
    long = next(name for name in names if name.startswith("--"))
    variable = long.split("/")[0].removeprefix("--").replace("-", "_").upper()
    return click.option(*names, envvar=f"OMNEO_IMPORT_{variable}", **settings)


def _all(options: Sequence[Callable[[Function], Function]]) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        for each in reversed(options):
            function = each(function)
        return function

    return decorate


@dataclass(frozen=True)
class Console:
    """How this call wants to be spoken to.

    Attributes:
        workdir: Where runs and the ledger are; a URL where that is in an object store.
        json: The last line of stdout is one JSON object; everything else goes to stderr.
        log_format: `text` or `json`, for stderr.
        verbosity: -1 quiet, 0, 1 verbose.
        watch: Tells the outside how the command ends; None where nobody wants to know.
    """

    workdir: Path | str
    json: bool
    log_format: str
    verbosity: int
    watch: Watch | None = None

    def say(self, text: str) -> None:
        """Tell a person, on stdout, or on stderr where stdout belongs to a script."""
        write_line(text, err=self.json)

    def result(self, data: Mapping[str, Any]) -> None:
        """Give a script its one JSON object."""
        if self.json:
            write_line(json.dumps(data, default=str))


COMMON = (
    option(
        "--workdir",
        type=Folder(),
        default=Path(".omneo-import"),
        show_default=True,
        help="Where runs and the ledger are kept; runs may be in an object store, such as s3://…",
    ),
    option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line of stdout."),
    option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="What stderr is for: people or machines.",
    ),
    option("-q", "--quiet", is_flag=True, help="Say only what a person should know."),
    option("-v", "--verbose", is_flag=True, help="Say more, and show the traceback of a bug."),
)


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether a call asks for JSON, even one that cannot be parsed."""
    given = os.environ.get("OMNEO_IMPORT_JSON", "").strip().lower()
    return "--json" in arguments or given in ("1", "true", "t", "yes", "y", "on")


class Signalled(BaseException):
    """SIGINT or SIGTERM came while nothing was in flight that would have to be finished."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class Group(click.Group):
    """Lists commands in the order of their use, and tells scripts as well as people of wrong usage."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **settings: Any) -> NoReturn:
        """Run a command and end the process."""
        given = sys.argv[1:] if args is None else list(args)
        settings["standalone_mode"] = False
        try:
            sys.exit(super().main(given, *rest, **settings))
        except click.ClickException as error:
            error.show()
            if _wants_json(given):
                write_line(json.dumps({"exit_code": error.exit_code, "error": error.format_message()}))
            sys.exit(error.exit_code)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of their definition."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, and suggest the nearest where there is none."""
        from pipeline.core.errors import did_you_mean

        if args and args[0] not in self.commands and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}{did_you_mean(args[0], list(self.commands))}")
        return super().resolve_command(ctx, args)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@_all(COMMON)
@click.version_option(__version__, prog_name="omneo-import")
def cli(**_: Any) -> None:
    """Import years of point-of-sale transactions into Omneo, safely and repeatably.

    \b
    The usual way:
      omneo-import scaffold exports/ -o shop.yaml     draft a mapping, then edit it
      omneo-import check    -m shop.yaml exports/     see that it fits
      omneo-import prepare  -m shop.yaml exports/     dry run: stage everything, write a report
      omneo-import load     latest                    send what was staged
      omneo-import confirm  latest                    see that it arrived

    OMNEO_TENANT (or OMNEO_BASE_URL) and OMNEO_TOKEN say where to. Every option can also be set as
    OMNEO_IMPORT_<NAME>; those below are every command's, and may stand before or after it.
    """  # noqa: D301 (click's \b keeps the block as it is)


def command(name: str, **settings: Any) -> Callable[[Callable[..., int]], click.Command]:
    """A command that takes a `Console` first and returns an exit code; errors become messages here."""

    def decorate(function: Callable[..., int]) -> click.Command:
        @functools.wraps(function)
        def call(**arguments: Any) -> None:
            common = _common(arguments)
            verbosity = -1 if common["quiet"] else int(common["verbose"])
            console = Console(common["workdir"], common["as_json"], common["log_format"], verbosity)
            sys.exit(_exit_code(console, lambda: function(console, **arguments)))

        return cli.command(name, **settings)(_all(COMMON)(call))

    return decorate


def _common(arguments: dict[str, Any]) -> dict[str, Any]:
    """Take the options of every command out of a command's; what stands before the command counts too."""
    here = click.get_current_context()
    before, typed = here.find_root(), ParameterSource.COMMANDLINE
    taken = {name: arguments.pop(name) for name in before.params}
    return taken | {
        name: value
        for name, value in before.params.items()
        if before.get_parameter_source(name) is typed and here.get_parameter_source(name) is not typed
    }


def _exit_code(console: Console, work: Callable[[], int]) -> int:
    os.umask(0o077)  # everything that is written holds personal data
    try:
        return work()
    except MappingError as error:  # its lines begin with file:line:column, for editors to jump to
        return _failed(console, error.exit_code, str(error), prefix="")
    except NothingNew as nothing:
        return _nothing_new(console, str(nothing))
    except ImportToolError as error:
        return _failed(console, error.exit_code, str(error))
    except click.ClickException:
        raise
    except click.Abort:
        return _failed(console, 2, "Cannot ask for confirmation without a terminal. Pass --yes to confirm.")
    except Signalled as signalled:
        return _failed(console, signalled.exit_code, "Stopped before it was through; nothing was sent.")
    except OSError as error:
        return _system_failed(console, error)
    except Exception as error:
        return _bug(console, error)


def _system_failed(console: Console, error: OSError) -> int:
    if error.errno not in DISK_FAILS:
        return _bug(console, error)
    text = f"The disk of {console.workdir} cannot be written: {error.strerror}."
    hint = "Mend that and repeat the command. Nothing is lost: `load` goes on where it was."
    return _failed(console, SettingsError.exit_code, f"{text}\n  {hint}")


def _bug(console: Console, error: Exception) -> int:
    if console.verbosity > 0:
        traceback.print_exc()
    hint = "" if console.verbosity > 0 else "\n  Run it again with -v to see where, and report it."
    return _failed(console, BUG, f"A bug in omneo-import: {type(error).__name__}: {error}{hint}")


def _nothing_new(console: Console, text: str) -> int:
    from pipeline.report.summary import empty_summary

    console.say(_visible(text))
    console.result(empty_summary().as_dict())
    return 0


def _failed(console: Console, exit_code: int, text: str, prefix: str = "Error: ") -> int:
    _tell_error(console, exit_code, text, prefix)
    console.result({"exit_code": exit_code, "error": text})
    return exit_code


def _tell_error(console: Console, exit_code: int, text: str, prefix: str = "Error: ") -> None:
    if console.log_format == "json":
        write_line(json.dumps({"event": "error", "exit_code": exit_code, "message": text}), err=True)
    else:
        write_line(f"{prefix}{_visible(text)}", err=True)


def _visible(text: str) -> str:
    """The text with control characters shown as symbols, since parts of it may come from data."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


@contextmanager
def _listening(console: Console) -> Iterator[Emit]:
    """What happens is shown on stderr, as the caller wants it."""
    from pipeline.core.events import fan_out
    from pipeline.report.terminal import JsonLog, progress_listener

    watching = [console.watch] if console.watch else []
    if console.log_format == "json":
        yield fan_out(while_writable(JsonLog(sys.stderr)), *watching)
        return
    with progress_listener(quiet=console.verbosity < 0, verbose=console.verbosity > 0) as emit:
        yield fan_out(while_writable(emit), *watching)


@contextmanager
def _workdir(
    console: Console,
    ledger: Path | str | None,
    failed: Callable[[SettingsError], None] | None = None,
    engine: str = "local",
    **needed: Any,
) -> Iterator[Path]:
    """The working directory: itself, or a local copy of what is needed of one in an object store.

    Args:
        console: Knows where it is.
        ledger: The ledger that is named; one beside the runs is not possible in an object store.
        failed: Is told that changes could not be brought back; by default that is raised.
        engine: Where the work runs.
        needed: See `pipeline.staging.mirror.Needed`.
    """
    if isinstance(console.workdir, Path):
        yield console.workdir
        return
    from pipeline.staging.mirror import Needed, mirrored

    if ledger is None:
        raise SettingsError(
            f"The ledger cannot be in an object store, as --workdir {console.workdir} is.",
            hint="Name one with --ledger: postgresql://…, or a file on this machine.",
        )
    if engine.startswith("dask://"):
        raise SettingsError(
            f"Workers of --engine {engine} cannot see into --workdir {console.workdir}.",
            hint="Name a directory that all machines share; sources may be in an object store all the same.",
        )
    with mirrored(console.workdir, Needed(**needed), failed) as path:
        yield path


@contextmanager
def _stoppable() -> Iterator[tuple[Stop, list[int]]]:
    """SIGINT and SIGTERM ask the load to finish what is in flight; a second one ends it.

    Gives what to hand to the load, and the list of signals that came.
    """
    from pipeline.loading.delivery.stop import Stop

    stop, received = Stop(), list[int]()

    def ask(number: int, _: object) -> None:
        received.append(number)
        stop.request()

    before = [signal.signal(number, ask) for number in SIGNALS]
    try:
        yield stop, received
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _until_signalled(console: Console) -> Iterator[Callable[[], int]]:
    """A server's orderly end is a signal; gives a function that tells and returns the exit code of that."""
    codes = [0]

    def ended() -> int:
        console.result({"exit_code": codes[-1]})
        return codes[-1]

    try:
        yield ended
    except Signalled as signalled:
        codes.append(signalled.exit_code)
    except KeyboardInterrupt:
        codes.append(128 + signal.SIGINT)


def _raise_signalled(number: int, _: object) -> None:
    raise Signalled(number)


def _show(console: Console, finished: Finished, about: str = "") -> int:
    """Tell how a run ended, and give the exit code.

    Args:
        console: Where to.
        finished: The end.
        about: The section of the report that the command is about: causes, preflight or, by default, neither.
    """
    from pipeline.report.terminal import closing_summary
    from pipeline.report.verdict import PREFLIGHT, REJECTIONS, judge
    from pipeline.report.view import masked

    if console.watch:
        console.watch.summary, console.watch.mapping = finished.summary, finished.data.provenance.mapping
        console.watch.error = finished.error.message if finished.error else ""
    # Where stderr is for machines, the last line of the log says how it ended.
    if console.verbosity >= 0 and not (console.json and console.log_format == "json"):
        data = finished.data
        causes = masked(data.causes) if about == REJECTIONS else None
        answers = (data.preflight or ()) if about == PREFLIGHT else ()
        console.say(closing_summary(data.summary, judge(data), causes=causes, answers=answers))
    if finished.error is not None:
        _tell_error(console, finished.exit_code, str(finished.error))
    console.result(finished.summary.as_dict())
    return finished.exit_code


MAPPING = option(
    "-m",
    "--mapping",
    required=True,
    metavar="FILE",
    help="The mapping: a file, or the name of a shipped one.",
)
SOURCES = click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
RUN = click.argument("reference", metavar="RUN")
FILE = click.Path(path_type=Path, dir_okay=False)

ENGINE = option(
    "--engine",
    type=Where(),
    default="local",
    show_default=True,
    help="Where the work runs: local, dask (two processes here) or dask://host:port.",
)

PREPARING = (
    option(
        "--max-rejected",
        type=LimitType(),
        help="The gate: more rejected than this ends with exit code 3. By default more than 25% and at least "
        "20, or all; 100% opens it.",
    ),
    option(
        "--control",
        type=FILE,
        help="Control totals to compare with: a CSV with count and sum by day, store or currency.",
    ),
    option(
        "--memory",
        type=Bytes(),
        default="1G",
        show_default=True,
        help="About how much memory to take at most; more makes larger units and fewer temporary files.",
    ),
    ENGINE,
    option("--show-personal-data", is_flag=True, help="Do not mask emails and card numbers in the report."),
    option("--all-files", is_flag=True, help="Of a directory or glob, take files imported before as well."),
    option(
        "--since", type=Moment(), help="Of a directory or glob, only files modified since: a date, or 7d."
    ),
    option(
        "--settle",
        type=Seconds(),
        default="0s",
        show_default=True,
        help="Of a directory or glob, not files modified less than this ago.",
    ),
)

WATCHING = (
    option(
        "--metrics-file", type=FILE, help="Write how it ended as Prometheus metrics, for the node exporter."
    ),
    option("--notify", metavar="URL", help="Post the summary to this address, however it ends."),
    option("--traces", is_flag=True, help="Send OpenTelemetry traces, as the OTEL_… variables say."),
)

LEDGER = option(
    "--ledger",
    type=Place(),
    metavar="PATH|URL",
    help="Another ledger than the workdir's own, such as postgresql://…",
)

CONNECTING = (
    LEDGER,
    option("--token-file", type=FILE, help="A file that holds the token, instead of OMNEO_TOKEN."),
    option(
        "--rate",
        type=Rate(),
        help="Requests at most, such as 600/min; the server's limits are followed anyway.",
    ),
    option(
        "--concurrency",
        type=click.IntRange(1, 1024),
        default=64,
        show_default=True,
        help="Requests in flight.",
    ),
    option(
        "--give-up-after",
        type=Seconds(),
        default="10m",
        show_default=True,
        help="How long an outage may last.",
    ),
    option(
        "--grace",
        type=Seconds(),
        default="30s",
        show_default=True,
        help="For what is in flight, when stopped.",
    ),
)

SENDING = (
    *CONNECTING,
    option(
        "--endpoint",
        type=click.Choice(["queue", "queue-create", "update-create", "batch"]),
        default="queue",
        show_default=True,
        help="The way into Omneo.",
    ),
    option(
        "--batch-size",
        type=click.IntRange(1, 500),
        default=100,
        show_default=True,
        help="For --endpoint batch.",
    ),
    option(
        "--on-change",
        type=click.Choice(["send", "hold", "skip"]),
        default="send",
        show_default=True,
        help="What to do with transactions that were delivered before with other contents.",
    ),
    option("--revive", is_flag=True, help="Send what `void` has undone again, no longer void."),
    option(
        "--in-doubt",
        type=click.Choice(["lookup", "resend"]),
        default="lookup",
        show_default=True,
        help="What to do with those of which it is unknown whether they arrived.",
    ),
)
MAX_REFUSED = option(
    "--max-refused",
    type=Refusals(),
    help="Stop once so many in a row were all refused, or `off`; 50 at the start and 200 later by default.",
)


def watched(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options with which the outside is told how a command ended, and tell it, however it ends."""

    @_all(WATCHING)
    @functools.wraps(function)
    def call(
        console: Console, metrics_file: Path | None, notify: str | None, traces: bool, **rest: Any
    ) -> int:
        if not (metrics_file or notify or traces):
            return function(console, **rest)
        watch = _watch(
            click.get_current_context().info_name or "", console.workdir, metrics_file, notify, traces
        )
        watch.mapping = rest.get("mapping", "")
        code, error = BUG, ""
        try:
            with _listening(console) as emit:
                for notice in watch.notices:
                    emit(notice)
            code = function(replace(console, watch=watch), **rest)
        except BaseException as problem:
            code, error = _ending(problem, watch)
            raise
        else:
            return code
        finally:
            _tell(console, watch, code, error)

    return call


def _tell(console: Console, watch: Watch, code: int, error: str) -> None:
    """Tell how a command ended; neither a fault nor a signal that comes meanwhile changes that end."""
    with suppress(Exception, Signalled), _listening(console) as emit:
        for notice in watch.end(code, error):
            emit(notice)


def _watch(
    command: str, workdir: Path | str, metrics_file: Path | None, notify: str | None, traces: bool
) -> Watch:
    from pipeline.telemetry import reporting

    tellers: dict[str, reporting.Teller] = {}
    if metrics_file:
        tellers["--metrics-file"] = reporting.MetricsFile(metrics_file)
    if notify:
        tellers["--notify"] = reporting.Notification(notify)
    listeners, notices = reporting.traces(command) if traces else ((), ())
    return reporting.Watch(command, workdir, tellers=tellers, listeners=listeners, notices=notices)


def _ending(problem: BaseException, watch: Watch) -> tuple[int, str]:
    """The exit code that an exception becomes, and what may be told of it: a bug's words may hold data."""
    from pipeline.report.summary import empty_summary

    match problem:
        case NothingNew():
            watch.summary = empty_summary()
            return 0, ""
        case ImportToolError():
            return problem.exit_code, problem.message
        case Signalled():
            return problem.exit_code, "Stopped before it was through."
        case _:
            return BUG, type(problem).__name__


def _delivery(arguments: Mapping[str, Any]) -> DeliveryOptions:
    """The options about sending, taken from a command's arguments."""
    from pipeline.loading.delivery.decisions import InDoubtRule, OnChange
    from pipeline.loading.delivery.options import DeliveryOptions
    from pipeline.loading.http.endpoints import endpoint_named

    chosen: dict[str, Any] = {
        "concurrency": arguments["concurrency"],
        "rate_per_min": arguments["rate"],
        "give_up_after_s": arguments["give_up_after"],
        "grace_s": arguments["grace"],
    }
    if "endpoint" in arguments:
        chosen |= {
            "endpoint": endpoint_named(arguments["endpoint"]),
            "batch_size": arguments["batch_size"],
            "on_change": OnChange(arguments["on_change"]),
            "revive": arguments["revive"],
            "in_doubt": InDoubtRule(arguments["in_doubt"]),
            "max_refused": arguments.get("max_refused"),
        }
    return DeliveryOptions(**chosen)


# ── Before a load ───────────────────────────────────────────────────────────────────────────────────


@command("scaffold")
@option("-o", "--output", type=FILE, help="Where to write it; stdout by default.")
@option("--from", "name", metavar="NAME", help="Copy a shipped mapping instead of drafting one.")
@click.argument("sources", nargs=-1, metavar="[SOURCE...]")
def scaffold(console: Console, sources: tuple[str, ...], output: Path | None, name: str | None) -> int:
    """Draft a mapping from a sample; what is unsure is marked, what is missing is left open."""
    from pipeline.mapping.language.draft_marks import open_values, unsure_marks
    from pipeline.mapping.scaffold.draft import copy_of, draft
    from pipeline.workflows import sources as inputs

    if bool(sources) == bool(name):
        raise click.UsageError("Name a SOURCE to draft from, or a shipped mapping with --from.")
    text = copy_of(name) if name else draft(inputs.samples(sources))
    if output is None:
        console.say(text.rstrip("\n"))
    else:
        _write_new(output, text)
        console.say(f"{output}: look for `unsure` and `open:`, then `omneo-import check -m {output}`")
    marks = {"unsure": unsure_marks(text), "open": open_values(text)}
    console.result({"mapping": str(output) if output else None, **marks})
    return 0


def _write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet: it may hold somebody's work."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise SettingsError(f"{path} is there already.", hint="Name another with -o, or remove it.") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}.") from None


@command("check")
@MAPPING
@click.argument("sources", nargs=-1, metavar="[SOURCE...]")
def check(console: Console, mapping: str, sources: tuple[str, ...]) -> int:
    """Tell what is wrong with a mapping.

    Each problem is a line `file:line:column: what, what was expected`; with SOURCE, its columns are checked
    too. A value that is still `{open: ...}` is a problem; those marked `# unsure` are counted.
    """
    from pipeline.mapping.compile.check import check_mapping
    from pipeline.mapping.language.draft_marks import unsure_marks, unsure_sentence
    from pipeline.mapping.language.load import load_mapping
    from pipeline.workflows import prepare

    loaded = load_mapping(mapping)
    with _listening(console) as emit:
        if sources:
            prepare.plan(loaded, sources, emit)
        else:
            prepare.refuse(check_mapping(loaded))
    unsure = unsure_marks(loaded.document.text)
    console.say(f"{loaded.path}: no problems found{f'; {unsure_sentence(unsure)}' if unsure else ''}")
    console.result({"mapping": str(loaded.path), "problems": [], "unsure": unsure})
    return 0


@command("preview")
@MAPPING
@option(
    "-n", "--number", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many payloads."
)
@SOURCES
def preview(console: Console, mapping: str, sources: tuple[str, ...], number: int) -> int:
    """Show the first payloads beside their rows.

    What was dropped or rejected among the rows read for them is told too.
    """
    from pipeline.mapping.language.load import load_mapping
    from pipeline.workflows import prepare
    from pipeline.workflows.preview import preview as look

    with _listening(console) as emit:
        found = look(prepare.plan(load_mapping(mapping), sources, emit), number)
    for sample in found.samples:
        for row in sample.rows:
            console.say(_visible(f"# {row.source}:{row.line} {json.dumps(row.cells, ensure_ascii=False)}"))
        console.say(_visible(json.dumps(sample.payload, indent=2, ensure_ascii=False)) + "\n")
    for reason in found.reasons.iter_rows(named=True):
        place = f"{reason['source']}:{reason['line']}"
        console.say(_visible(f"{place}: {reason['outcome']} {reason['code']}: {reason['message']}"))
    console.result(
        {"payloads": [sample.payload for sample in found.samples], "reasons": found.reasons.to_dicts()}
    )
    return 0


@command("prepare")
@watched
@MAPPING
@_all(PREPARING)
@LEDGER
@option("--rate", type=Rate(), help="Requests a minute that are expected, for the prediction.")
@SOURCES
def prepare(console: Console, mapping: str, sources: tuple[str, ...], **arguments: Any) -> int:
    """Dry run: stage all, send nothing, report.

    No network is used. SOURCE is a file, a glob, or one directory in which the mapping's own inputs are
    looked for. Of a directory or glob, only files that are new or changed since they were imported are taken.
    """
    return _prepare(console, mapping, sources, arguments)


def _prepare(console: Console, mapping: str, sources: tuple[str, ...], arguments: Mapping[str, Any]) -> int:
    keep_freed_memory()
    from pipeline.workflows import run

    with (
        _listening(console) as emit,
        _workdir(console, arguments["ledger"], engine=arguments["engine"]) as workdir,
    ):
        finished = run.prepare(workdir, mapping, sources, _preparing(arguments), emit)
    return _show(console, finished, "causes")


def _preparing(arguments: Mapping[str, Any]) -> PrepareOptions:
    from pipeline.workflows.incremental import Wanted
    from pipeline.workflows.run import PrepareOptions

    return PrepareOptions(
        max_rejected=arguments["max_rejected"],
        control=arguments["control"],
        budget=Budget.of(arguments["memory"]),
        engine=arguments["engine"],
        show_personal_data=arguments["show_personal_data"],
        rate_per_min=arguments["rate"],
        files=Wanted(arguments["all_files"], arguments["since"], timedelta(seconds=arguments["settle"])),
        ledger=arguments["ledger"],
        base_url=base_url_from_environment(),
    )


# ── Sending ─────────────────────────────────────────────────────────────────────────────────────────


def _deliver(
    console: Console,
    reference: str,
    arguments: Mapping[str, Any],
    action: Callable[[Target], Finished],
    about: str = "",
) -> int:
    """Do something with a run and a tenant, and show how it ended."""
    from pipeline.workflows.delivery import Target

    connection = connection_from_environment(arguments["token_file"])
    options = _delivery(arguments)
    ledger, engine = arguments["ledger"], arguments.get("engine", "local")

    def not_kept(error: SettingsError) -> None:
        # What was sent is in the ledger, so this is no reason to end with another exit code.
        _tell_error(console, 0, f"{error}\n  Write it again: omneo-import report {reference}", "Notice: ")

    with (
        _listening(console) as emit,
        _workdir(console, ledger, not_kept, engine, run=reference) as workdir,
        _stoppable() as (stop, received),
    ):
        target = Target(
            workdir,
            reference,
            connection,
            options,
            emit,
            stop,
            ledger,
            engine,
            arguments["token_file"],
            received,
        )
        finished = action(target)
    return _show(console, finished, about)


@command("load")
@watched
@_all(SENDING)
@MAX_REFUSED
@ENGINE
@RUN
def load(console: Console, reference: str, **arguments: Any) -> int:
    """Send a staged run, or go on with it.

    What goes out is exactly the bytes that `prepare` reviewed. Run again after any stop, it goes on where it
    was.
    """
    from pipeline.workflows import delivery

    return _deliver(console, reference, arguments, delivery.load)


@command("run")
@watched
@MAPPING
@_all(PREPARING)
@_all(SENDING)
@MAX_REFUSED
@option("--dry-run", is_flag=True, help="Only prepare.")
@SOURCES
def run_all(console: Console, mapping: str, sources: tuple[str, ...], dry_run: bool, **arguments: Any) -> int:
    """`prepare`, then `load`.

    Repeated on the same input it sends nothing twice.
    """
    keep_freed_memory()
    from pipeline.workflows import delivery, run

    if dry_run:
        return _prepare(console, mapping, sources, arguments)
    connection = connection_from_environment(arguments["token_file"])
    delivery.refuse_unshared(arguments["engine"], arguments["ledger"])
    with (
        _listening(console) as emit,
        _workdir(console, arguments["ledger"], engine=arguments["engine"]) as workdir,
    ):
        delivery.adopt(workdir, connection, _delivery(arguments), emit, ledger=arguments["ledger"])
        prepared = run.prepare(workdir, mapping, sources, _preparing(arguments), emit)
    if prepared.exit_code:
        return _show(console, prepared, "causes")

    def send(target: Target) -> Finished:
        return delivery.load(replace(target, prepared=prepared.summary))

    return _deliver(console, prepared.summary.run_id, arguments, send, "causes")


@command("retry")
@watched
@_all(SENDING)
@RUN
def retry(console: Console, reference: str, **arguments: Any) -> int:
    """Send again what failed or was refused."""
    from pipeline.workflows import delivery

    return _deliver(console, reference, arguments, delivery.retry)


@command("confirm")
@watched
@_all(CONNECTING)
@option(
    "--sample", type=Share(), default="100%", show_default=True, help="Share to look up, chosen at random."
)
@option("--resend", is_flag=True, help="Send the missing ones again.")
@RUN
def confirm(console: Console, reference: str, sample: float, resend: bool, **arguments: Any) -> int:
    """Look transactions up in Omneo and compare.

    Says which are missing or differ.
    """
    from pipeline.workflows import delivery

    return _deliver(
        console, reference, arguments, lambda target: delivery.confirm(target, sample=sample, resend=resend)
    )


@command("void")
@_all(CONNECTING)
@option("--yes", is_flag=True, help="Do not ask.")
@RUN
def void(console: Console, reference: str, yes: bool, **arguments: Any) -> int:
    """Undo a run: send it again as void.

    Every transaction that it delivered is sent with `is_void: true`.
    """
    from pipeline.workflows import delivery
    from pipeline.workflows import status as standing

    base_url = base_url_from_environment()
    with _workdir(console, arguments["ledger"], run=reference, bodies=False, writes=False) as workdir:
        *_, stands = standing.status(workdir, reference, ledger=arguments["ledger"], base_url=base_url)
    summary = stands.summary
    sent = summary.delivery
    question = f"Void {sent.delivered + sent.in_doubt:,} transactions of run {summary.run_id} in Omneo?"
    if not yes and not click.confirm(question, err=True):
        console.say("Nothing was voided.")
        console.result(summary.as_dict())
        return 0
    return _deliver(console, summary.run_id, arguments, delivery.void)


@command("preflight")
@_all(CONNECTING)
@option(
    "--customers", type=click.IntRange(0, 10_000), default=200, show_default=True, help="How many to ask for."
)
@RUN
def preflight(console: Console, reference: str, customers: int, **arguments: Any) -> int:
    """Ask the tenant, sending no transaction.

    Is the token good, which locations would be created, are the currencies configured, what share of a
    sample of customers is known? The answers join the report.
    """
    from pipeline.workflows import delivery

    def ask(target: Target) -> Finished:
        return delivery.preflight(target, sample=customers)

    return _deliver(console, reference, arguments, ask, "preflight")


@command("listen")
@option("--host", default="127.0.0.1", show_default=True, help="Address to bind; put TLS before any other.")
@option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="0 for a free one.")
@option(
    "--secret-file",
    type=FILE,
    help="A file that holds the webhooks' secret, instead of OMNEO_WEBHOOK_SECRET.",
)
@LEDGER
def listen(
    console: Console, host: str, port: int, secret_file: Path | None, ledger: Path | str | None
) -> int:
    """Receive Omneo's webhooks.

    Their HMAC is checked, and the transactions they tell of are marked confirmed.
    """
    from pipeline.core.settings import webhook_secret
    from pipeline.workflows import delivery

    secret = webhook_secret(secret_file)
    with (
        _listening(console) as emit,
        _workdir(console, ledger, writes=False) as workdir,
        _until_signalled(console) as ended,
    ):
        delivery.listen(
            workdir,
            secret,
            host,
            port,
            emit,
            lambda url: write_line(f"Listening on {url}", err=True),
            ledger=ledger,
        )
    return ended()


# ── Looking at runs ─────────────────────────────────────────────────────────────────────────────────


@command("status")
@LEDGER
@click.argument("reference", metavar="[RUN]", required=False)
def status(console: Console, reference: str | None, ledger: Path | str | None) -> int:
    """List the runs, or tell how one stands."""
    from pipeline.report.terminal import closing_summary, run_table
    from pipeline.report.view import masked
    from pipeline.workflows import status as standing

    with (
        _listening(console) as emit,
        _workdir(console, ledger, heads=True, run=reference, bodies=False, writes=False) as workdir,
    ):
        base_url = base_url_from_environment()
        stands = standing.status(workdir, reference, ledger=ledger, base_url=base_url, emit=emit)
    if reference:
        for each in stands:
            console.say(closing_summary(each.summary, each.verdict, causes=masked(each.causes)))
        tenants = [_of_tenant(each.summary) for each in stands if each.summary.tenant is not None]
        console.result({**_of_tenant(stands[-1].summary), "tenants": tenants})
        return 0
    console.say(run_table([(each.summary, each.verdict) for each in stands]))
    console.result({"runs": [_of_tenant(each.summary) for each in stands]})
    return 0


def _of_tenant(summary: Summary) -> dict[str, Any]:
    """A summary that says whose delivery it counts."""
    return {**summary.as_dict(), "tenant": summary.tenant}


@command("report")
@option(
    "--format",
    "form",
    type=click.Choice(["html", "markdown"]),
    default="html",
    show_default=True,
    help="The page, or a short version for a pull request or a chat.",
)
@option("--show-personal-data/--mask-personal-data", default=None, help="As `prepare` was told, by default.")
@LEDGER
@RUN
def report(
    console: Console, reference: str, form: str, show_personal_data: bool | None, ledger: Path | str | None
) -> int:
    """Write a report again, and print its path."""
    from pipeline.report.markdown import render_markdown
    from pipeline.workflows import status as standing

    with _workdir(console, ledger, run=reference, bodies=False) as workdir:
        data, values = standing.report(
            workdir,
            reference,
            ledger=ledger,
            base_url=base_url_from_environment(),
            show_personal_data=show_personal_data,
        )
    console.say(data.summary.report if form == "html" else render_markdown(values))
    console.result(data.summary.as_dict())
    return 0


# ── Retention ───────────────────────────────────────────────────────────────────────────────────────


@command("prune")
@option("--older-than", type=Age(), required=True, help="Only runs prepared longer ago, such as 90d.")
@option("--force", is_flag=True, help="Also runs of which something can still be sent.")
@option("--yes", is_flag=True, help="Do not ask.")
@option("--dry-run", is_flag=True, help="Only say what would be removed.")
@LEDGER
def prune(
    console: Console, older_than: float, force: bool, yes: bool, dry_run: bool, ledger: str | None
) -> int:
    """Remove personal data from old runs.

    Staged bodies and quarantine go; manifest, ledger, log and the masked report stay. Such a run cannot be
    loaded, retried, confirmed or voided any more. Runs of which something can still be sent are left alone.
    Asks first.
    """
    from pipeline.workflows import prune as retention

    with _workdir(console, ledger, everything=True, writes=not dry_run) as workdir:
        look = functools.partial(
            retention.prune, workdir, timedelta(seconds=older_than), ledger=ledger, force=force
        )
        runs = look(dry_run=True)
        old = sum(not each.left_alone for each in runs)
        if old and not dry_run:
            question = f"Remove the contents of {old:,} runs, which can then not be sent or undone any more?"
            if yes or click.confirm(question, err=True):
                runs = look(dry_run=False)
            else:
                dry_run = True
    verb = "would be removed" if dry_run else "removed"
    for each in runs:
        size = f"{each.files:,} files with {each.bytes:,} bytes {verb}"
        console.say(f"{each.run_id}: {f'left alone, {each.left_alone}' if each.left_alone else size}")
    if not runs:
        console.say("There was nothing to remove.")
    console.result({"dry_run": dry_run, "runs": [asdict(each) for each in runs]})
    return 0


@command("forget")
@option("--profile", required=True, metavar="VALUE", help="The person's email, card or id.")
@option("--yes", is_flag=True, help="Do not ask.")
@LEDGER
def forget(console: Console, profile: str, yes: bool, ledger: str | None) -> int:
    """Remove one person from all runs.

    Their staged transactions keep id, time and total, so nothing is sent again. Omneo and the files of the
    source are not touched.
    """
    from pipeline.workflows import forget as forgetting

    def agree(found: Sequence[forgetting.Traces]) -> bool:
        staged = sum(len(traces.staged) for traces in found)
        question = f"Remove this person from {len(found):,} runs, with {staged:,} staged transactions?"
        return yes or not found or click.confirm(question, err=True)

    with _workdir(console, ledger, everything=True) as workdir:
        removed = forgetting.forget(workdir, profile, ledger=ledger, agree=agree)
    for traces in removed.runs:
        console.say(
            f"{traces.run_id}: {len(traces.staged):,} staged transactions emptied; {traces.quarantined:,} "
            f"reasons and {traces.rows:,} rows to mend removed"
        )
    if not (removed.runs or removed.words):
        console.say("Nothing was removed.")
    console.result(asdict(removed))
    return 0


# ── The local Omneo ─────────────────────────────────────────────────────────────────────────────────


def _fault_option(fault: Field[Any]) -> Callable[[Function], Function]:
    """The option for a fault of the local Omneo."""
    name, about = f"--{fault.name.replace('_', '-')}", fault.metadata["help"]
    if isinstance(fault.default, bool):
        return option(name, is_flag=True, help=about)
    if choices := fault.metadata.get("choices"):
        return option(name, type=click.Choice(choices), default=fault.default, show_default=True, help=about)
    return option(name, type=type(fault.default), default=fault.default, show_default=True, help=about)


@command("simulate")
@option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@option("--port", type=click.IntRange(0, 65535), default=0, help="A free one by default.")
@option("--db", type=FILE, help="Where its state is kept; in memory by default.")
@option(
    "--seed-file",
    type=FILE,
    help="JSON with the profiles, locations, currencies, triggers and automations it has.",
)
@_all([_fault_option(fault) for fault in fields(Faults)])
@option(
    "--webhook-url", help="A loopback address that is told of every transaction, such as that of `listen`."
)
@option(
    "--with-triggers",
    is_flag=True,
    help="The tenant has active triggers, which mail and award points; by default it has none.",
)
def simulate(
    console: Console,
    host: str,
    port: int,
    db: Path | None,
    seed_file: Path | None,
    webhook_url: str | None,
    with_triggers: bool,
    **faults: Any,
) -> int:
    """Run a local Omneo for rehearsals.

    It listens on loopback only, and its faults can be changed while it runs. Without profiles in a seed file
    it is a tenant that knows every customer it is sent. The token is OMNEO_TOKEN, or `simulator-token` where
    that is not set. Webhooks are signed with OMNEO_WEBHOOK_SECRET, or `simulator-secret` where that is not
    set.
    """
    from pipeline.simulator import EXAMPLE_TRIGGERS, SimulatorSettings, read_seed_file, serve

    chosen: dict[str, Any] = read_seed_file(seed_file) if seed_file else {}
    chosen["unknown_profiles"] = "guest" if chosen.get("profiles") else "enrol"
    if token := os.environ.get("OMNEO_TOKEN", "").strip():
        chosen["token"] = token
    if secret := os.environ.get("OMNEO_WEBHOOK_SECRET", "").strip():
        chosen["webhook_secret"] = secret
    if with_triggers:
        chosen["triggers"] = (*chosen.get("triggers", ()), *EXAMPLE_TRIGGERS)
    if db:
        chosen["db"] = db
    settings = SimulatorSettings(**chosen, webhook_url=webhook_url, faults=Faults(**faults))
    with _until_signalled(console) as ended:
        serve(settings, host=host, port=port, on_ready=lambda url: console.say(f"OMNEO_BASE_URL={url}"))
    return ended()


def main() -> None:
    """Run the `omneo-import` command."""
    open_standard_streams()
    for number in SIGNALS:
        signal.signal(number, _raise_signalled)
    prefer_jemalloc()
    atexit.register(gc.freeze)  # Python would look for garbage once more, which takes longer than to end
    with seldom_collecting():
        cli(prog_name="omneo-import")
