"""`load` and `confirm` beside other ways to send the same bodies to the same sink."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import child, machine
from benchmarks.environment import PEERS, WORK, Peers, export, fresh, say
from benchmarks.results import US, Row, Run
from benchmarks.sink import BatchSink, Sink, Taken
from benchmarks.transform import prepare, staged

ENDPOINT = "/transactions/queue"
WRK_S = 5
INTERRUPTED = 130


@dataclass(frozen=True)
class Bodies:
    """Request bodies in a file, one a line: how many, and how many bytes they have."""

    path: Path
    count: int
    size: int


@dataclass(frozen=True)
class Staged:
    """A run that was prepared and not sent.

    Attributes:
        workdir: Copied for each run, so that every one begins with an empty ledger.
        bodies: What it holds.
    """

    workdir: Path
    bodies: Bodies

    def copy(self) -> Path:
        """A working directory to be used up."""
        path = fresh("delivery")
        shutil.copytree(self.workdir, path, dirs_exist_ok=True)
        return path


def stage(receipts: int) -> Staged:
    """Prepare an export for sending."""
    workdir = fresh(f"staged-{receipts}")
    child.run(prepare(export(receipts, "csv"), workdir))
    return Staged(workdir, bodies_of(staged(workdir), WORK / f"bodies-{receipts}.jsonl"))


def bodies_of(source: Path, out: Path, limit: int = 2**62) -> Bodies:
    """Write bodies to a file of their own."""
    command: child.Command = [
        child.OWN,
        "-m",
        "benchmarks.digest",
        "bodies",
        source,
        out,
        "--limit",
        str(limit),
    ]
    told = json.loads(child.run(command).out)
    return Bodies(out, told["count"], told["bytes"])


def pipeline(workdir: Path, sink: Sink | BatchSink, *arguments: str, **options: Any) -> child.Cost:
    """Run a command of this project against a sink."""
    command: child.Command = [child.OWN, "-m", "pipeline", *arguments, "-q", "--json", "--workdir", workdir]
    # What is sent is old, and the sinks have no triggers to ask for.
    env = {"OMNEO_BASE_URL": sink.url, "OMNEO_TOKEN": "benchmark", "OMNEO_IMPORT_REACTIONS": "allow"}
    return child.run(command, env=env, **options)


def summary(cost: child.Cost) -> dict[str, Any]:
    """The JSON object that a command of this project prints last."""
    found: dict[str, Any] = json.loads(cost.out.splitlines()[-1])
    return found


def check(who: str, found: object, right: object) -> None:
    """See to it that a tool did its work.

    Raises:
        child.Failed: It did not.
    """
    if found != right:
        raise child.Failed(f"{who}: {found}, not {right}")


# ── Sending ─────────────────────────────────────────────────────────────────────────────────────────


def measure_load(peers: Peers, receipts: int, repeat: int, *, wrk: bool) -> list[Row]:
    """One request a transaction: this project, its peers with fewer of them, and the wire's limit."""
    run = stage(receipts)
    some = bodies_of(run.bodies.path, WORK / "bodies-some.jsonl", max(1, receipts // 5))
    work = "send to nginx, one transaction a request"
    names = [
        US,
        *(_peers(peers) if peers.python else {}),
        *(["wrk, the same body over and over"] if wrk else []),
    ]
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for _ in range(repeat):
        for name in names:
            if name == US:
                done = _load(run)
            elif name.startswith("wrk"):
                done = _wrk(run)
            else:
                done = _peer(name, _peers(peers)[name], some)
            runs[name].append(done)
            say(f"{work}: {name} {done.count / done.wall_s:,.0f} a second")
    return [Row(work, receipts, "transactions", name, tuple(each)) for name, each in runs.items()]


def _peers(peers: Peers) -> dict[str, list[str | Path]]:
    version = peers.versions
    return {
        f"dlt {version['dlt']}, custom destination": peers.command("dlt_destination.py"),
        f"requests {version['requests']} loop": peers.command("requests_loop.py"),
        f"httpx {version['httpx']}, 64 at a time": peers.command("httpx_semaphore.py"),
    }


def _load(run: Staged) -> Run:
    load, workdir = machine.load(), run.copy()
    with Sink(WORK / "sink") as sink:
        cost = pipeline(workdir, sink, "load", "latest")
    taken = sink.taken()
    check(US, summary(cost)["delivery"]["delivered"], run.bodies.count)
    check(US, (taken.posts, taken.body_bytes, taken.refused), (run.bodies.count, run.bodies.size, 0))
    return _sent(taken, cost, taken.posts, load)


def _peer(name: str, command: Sequence[str | Path], bodies: Bodies) -> Run:
    load = machine.load()
    with Sink(WORK / "sink") as sink:
        cost = child.run([*command, bodies.path, sink.url + ENDPOINT])
    taken = sink.taken()
    check(name, (taken.posts, taken.body_bytes, taken.refused), (bodies.count, bodies.size, 0))
    return _sent(taken, cost, taken.posts, load)


def _wrk(run: Staged) -> Run:
    load = machine.load()
    with Sink(WORK / "sink") as sink:
        command: child.Command = [
            "wrk",
            "-t1",
            "-c64",
            f"-d{WRK_S}s",
            "-s",
            PEERS / "post.lua",
            sink.url + ENDPOINT,
        ]
        cost = child.run(command, env={"BODY": str(run.bodies.path)})
    taken = sink.taken()
    check("wrk", taken.refused, 0)
    return _sent(taken, cost, taken.posts, load)


def _sent(taken: Taken, cost: child.Cost, count: int, load: float) -> Run:
    return Run(taken.seconds, cost.cpu_s, cost.peak_bytes, count, load=load)


def measure_batches(receipts: int, repeat: int) -> list[Row]:
    """Many transactions a request."""
    run = stage(receipts)
    rows = []
    for size in (100, 500):
        work = f"send to a server that counts, {size} transactions a request"
        runs = []
        for _ in range(repeat):
            load, workdir = machine.load(), run.copy()
            with BatchSink(WORK / "sink") as sink:
                cost = pipeline(
                    workdir, sink, "load", "latest", "--endpoint", "batch", "--batch-size", str(size)
                )
            taken = sink.taken()
            check(US, summary(cost)["delivery"]["delivered"], run.bodies.count)
            # Each request adds an envelope, and a comma between its transactions.
            envelopes = taken.posts * len('{"transactions":[]}') + run.bodies.count - taken.posts
            check(US, (taken.body_bytes, taken.refused), (run.bodies.size + envelopes, 0))
            runs.append(_sent(taken, cost, run.bodies.count, load))
            say(f"{work}: {run.bodies.count / taken.seconds:,.0f} a second")
        rows.append(Row(work, receipts, "transactions", US, tuple(runs)))
    return rows


# ── Going on, and looking up ────────────────────────────────────────────────────────────────────────


def measure_first(receipts: int, repeat: int) -> list[Row]:
    """From the command to the first answer, on a run of which half is delivered."""
    run = stage(receipts)
    workdir = run.copy()
    half = run.bodies.count // 2
    with BatchSink(WORK / "sink") as sink:
        batches = ("--endpoint", "batch", "--batch-size", "500", "--concurrency", "4")
        ledger = workdir / "ledger.sqlite"
        cost = pipeline(
            workdir, sink, "load", "latest", *batches, until=lambda: _delivered(ledger) >= half,
            codes=(INTERRUPTED,),
        )  # fmt: skip
    delivered = summary(cost)["delivery"]["delivered"]
    if not 0.4 < delivered / run.bodies.count < 0.6:
        raise child.Failed(f"{delivered:,} of {run.bodies.count:,} were delivered, not half")
    work = f"from `load` to the first answer, {receipts:,} receipts staged, half delivered"
    return [Row(work, receipts, "starts", US, tuple(_first(workdir, work, sink.port) for _ in range(repeat)))]


def _delivered(ledger: Path) -> int:
    """How many transactions a load has delivered so far, by its ledger."""
    if not ledger.exists():
        return 0
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as opened, suppress(sqlite3.Error):
        return int(opened.execute("SELECT sum(n) FROM counts WHERE state = 'delivered'").fetchone()[0] or 0)
    return 0


def _first(workdir: Path, work: str, port: int) -> Run:
    load = machine.load()
    with Sink(WORK / "sink", port) as sink:
        cost = pipeline(
            workdir, sink, "load", "latest", until=lambda: sink.requests() > 100, codes=(INTERRUPTED,)
        )
    seconds = sink.taken().first_at - cost.started_at
    say(f"{work}: {seconds:.2f} s")
    return Run(seconds, 0, cost.peak_bytes, 1, load=load)


def measure_confirm(receipts: int, repeat: int) -> list[Row]:
    """Look every transaction up in nginx, which has each as a file, and compare it with what was sent."""
    run = stage(receipts)
    workdir, home = run.copy(), fresh("sink")
    files = home / "files/api/v3/transactions/external"
    child.run([child.OWN, "-m", "benchmarks.digest", "files", staged(workdir), files])
    with Sink(home) as sink:
        pipeline(workdir, sink, "load", "latest")
    work = f"confirm {run.bodies.count:,} transactions against nginx"
    return [Row(work, receipts, "look-ups", US, tuple(_confirms(run, workdir, work, repeat, sink.port)))]


def _confirms(run: Staged, workdir: Path, work: str, repeat: int, port: int) -> Iterator[Run]:
    for _ in range(repeat):
        load = machine.load()
        with Sink(WORK / "sink", port) as sink:
            cost = pipeline(workdir, sink, "confirm", "latest")
        taken = sink.taken()
        # One more: the sink is asked first whether its list takes several ids, which it does not.
        check(US, (summary(cost)["confirmed"], taken.gets), (run.bodies.count, run.bodies.count + 1))
        say(f"{work}: {taken.gets / taken.seconds:,.0f} a second")
        yield _sent(taken, cost, taken.gets, load)
