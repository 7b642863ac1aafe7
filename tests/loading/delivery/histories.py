"""Random histories of a whole delivery against a server that lies, drops, refuses, is late and throttles.

Everything runs in this process: the loader's own code, a real ledger, and a model of Omneo behind httpx's
mock transport. A process that is killed is one whose ledger and network fail from some moment on. What
becomes of each transaction is drawn anew for each command: a lasting mood would hide what its change shows.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import httpx

from pipeline.core.clock import FakeClock
from pipeline.core.model import StagedTransaction
from pipeline.core.settings import Connection, Secret
from pipeline.loading.confirm.confirm_run import confirm
from pipeline.loading.confirm.webhook_receiver import SIGNATURE_HEADER, webhook_app
from pipeline.loading.delivery.decisions import OnChange, RetryRules
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.delivery.stop import Stop
from pipeline.loading.http.endpoints import ENDPOINTS
from pipeline.loading.http.retry_policy import RetryPolicy
from pipeline.loading.ledger.entries import ACCEPTED_BY_OMNEO, IN_FLIGHT, Record, RunRef, State, content_hash
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.workflows.prune import _is_needed
from tests.loading.delivery.lying import NO_YES
from tests.loading.tenant import confirm_and_resend, void

SIZE: Final = 8
CONCURRENCY: Final = 3
BATCH: Final = 2
REQUESTS_MAX: Final = 150 * SIZE
"""Requests of one command: attempts are bounded, also where time costs nothing."""
FATES: Final = (
    *("honest",) * 6,
    *("odd", "odd-kept", "drop", "drop-kept", "late"),
    *("error", "error-kept", "refuse-once", "refuse", "throttle"),
)


class Killed(Exception):
    """The process is gone: nothing reaches the disk or the network any more."""


def staged(number: int, version: int) -> StagedTransaction:
    """The transaction with this number in one of its versions."""
    name = f"T{number}"
    item = {"external_id": "1", "name": "Shirt", "quantity": 1, "price_sell": 1.5}
    body = {"external_id": name, "total": 1.5, "tender": f"v{version}", "items": [item]}
    return StagedTransaction(name, json.dumps(body).encode(), total="1.5")


@dataclass
class Omneo:
    """A tenant: what it has, and how it answers."""

    base_url: str
    seed: int
    copies: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    late: list[tuple[dict[str, Any], bool]] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    batches: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    fates: dict[str, str] = field(default_factory=dict)
    met: Counter[str] = field(default_factory=Counter)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    commands: int = 0
    requests: int = 0
    honest: bool = False
    dies_at: int | None = None
    stops_at: int | None = None
    stop: Stop = field(default_factory=Stop)
    is_dead: Callable[[], bool] = lambda: False
    die: Callable[[], None] = lambda: None

    def command(self, *, honest: bool = False) -> None:
        """From now on another command asks: each transaction's fate is drawn anew."""
        self.fates.clear()
        self.met.clear()
        self.asked.clear()
        self.commands += 1
        self.requests = 0
        self.honest = honest
        self.dies_at = self.stops_at = None
        self.stop = Stop()

    def fate(self, name: str) -> str:
        """What becomes of the requests for a transaction in this command."""
        if self.honest:
            return "honest"
        return self.fates.setdefault(name, self.dice("fate", name).choice(FATES))

    def dice(self, kind: str, name: str) -> random.Random:
        """Drawn by what is asked and how often: threads choose the order of requests."""
        self.asked[kind, name] += 1
        number = self.asked[kind, name]
        return random.Random(f"{self.seed} {self.base_url} {self.commands} {kind} {name} {number}")

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Take a request; the process may die before or after."""
        self.requests += 1
        assert self.requests < REQUESTS_MAX, "the attempts of a command are not bounded"
        if self.stops_at == self.requests:
            self.stop.request()
        if self.is_dead():
            raise Killed
        dies = self.dies_at == self.requests
        if dies and self.dice("dies", "").random() < 0.5:
            self.die()
            raise Killed
        response = self._answer(request)
        if dies:
            self.die()
            raise Killed
        return response

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = unquote(request.url.path)
        if request.method == "GET":
            return self._looked_up(path)
        said = json.loads(request.content)
        bodies = said.get("transactions", [said])
        names = [body["external_id"] for body in bodies]
        fate = self.fate(names[0])
        self.met[names[0]] += 1
        first = self.met[names[0]] == 1
        if fate == "refuse" or (fate == "refuse-once" and first):
            return httpx.Response(422, json={"message": "Invalid."})
        if fate == "throttle" and first:
            return httpx.Response(429, headers={"retry-after": "1"}, json={})
        if fate in ("error", "odd", "drop") and self.dice("post", names[0]).random() < 0.8:
            return self._fault(fate, request, names[0])
        kept = httpx.Response(200, json=self._keep(path, bodies, is_late=fate == "late"))
        if fate.endswith("-kept") and first:
            return self._fault(fate.removesuffix("-kept"), request, names[0])
        return kept

    def _fault(self, kind: str, request: httpx.Request, name: str) -> httpx.Response:
        dice = self.dice(f"{request.method} {kind}", name)
        if kind == "drop":
            raise httpx.ReadError("reset", request=request)
        if kind == "error":
            return httpx.Response(dice.choice([500, 502, 504]), json={})
        lie = dice.choice(NO_YES)
        return httpx.Response(lie.status, content=lie.body)

    def _keep(self, path: str, bodies: Sequence[dict[str, Any]], *, is_late: bool) -> dict[str, Any]:
        creates = path.endswith("/create")
        for body in bodies:
            self.late.append((body, creates))
        if not is_late:
            self.work([body["external_id"] for body in bodies])
        if path.endswith("update-create"):
            self.work([body["external_id"] for body in bodies])
            return {"data": self.copies[bodies[0]["external_id"]][0]}
        if path.endswith("batch.json"):
            number = f"{self.commands}-{bodies[0]['external_id']}-{self.met[bodies[0]['external_id']]}"
            self.batches[number] = list(bodies)
            return {"message": "ok", "batch_id": number}
        return {"data": "OK"}

    def work(self, names: Sequence[str] | None = None) -> None:
        """Work off the queue: all that waits for these transactions, in order."""
        waiting, self.late = self.late, []
        for body, creates in waiting:
            if names is not None and body["external_id"] not in names:
                self.late.append((body, creates))
                continue
            copies = self.copies.setdefault(body["external_id"], [])
            self.lost.discard(body["external_id"])
            if creates or not copies:
                copies.append({"id": 1, "is_void": False, **body})
            else:
                copies[0].update(body)

    def lose(self, name: str) -> None:
        """Somebody deletes a transaction there."""
        if self.copies.pop(name, None):
            self.lost.add(name)

    def _looked_up(self, path: str) -> httpx.Response:
        name = path.rsplit("/", 1)[1]
        dice = self.dice("GET", name)
        if not self.honest and dice.random() < 0.1:
            kind = dice.choice(["odd", "error", "drop"])
            return self._fault(kind, httpx.Request("GET", f"https://x{path}"), name)
        if "/batches/" in path:
            return self._batch(name)
        if self.late and dice.random() < 0.3:
            self.work([name])
        copies = self.copies.get(name)
        return httpx.Response(200, json={"data": copies[0]}) if copies else httpx.Response(404, json={})

    def _batch(self, number: str) -> httpx.Response:
        kind = (
            "named"
            if self.honest
            else self.dice("batch", number).choice(["named", "counts", "none", "zero", "cancelled", "queued"])
        )
        bodies = self.batches.get(number, [])
        if kind == "none" or not bodies:
            return httpx.Response(404, json={})
        are_done = not any(body in bodies for body, _ in self.late)
        if kind == "named" and are_done:
            items = [{"external_id": each["external_id"], "status": "success"} for each in bodies]
            return httpx.Response(200, json={"data": {"status": "success", "items": items}})
        size = len(bodies)
        counts = {"total_count": size, "processed_count": size, "success_count": size, "failed_count": 0}
        if kind == "counts" and are_done:
            return httpx.Response(200, json={"data": {"status": "completed", "items": [], **counts}})
        if kind == "cancelled":
            return httpx.Response(200, json={"data": {"status": "cancelled", "items": [], **counts}})
        queued = [{"external_id": each["external_id"], "status": "queued"} for each in bodies]
        items = queued if kind == "queued" else []
        zero = dict.fromkeys(counts, 0)
        return httpx.Response(200, json={"data": {"status": "completed", "items": items, **zero}})


@dataclass(frozen=True)
class Run:
    """A staged run; `transactions` loses bodies where a customer is forgotten."""

    ref: RunRef
    transactions: list[StagedTransaction]

    def batches(self, start: int) -> Any:
        """In delivery order."""
        return iter([self.transactions[start:]] if start < len(self.transactions) else [])


class History:
    """One history: its tenants, its runs, its ledger, and what happens.

    Args:
        seed: Of everything.
        folder: For the ledger.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.dice = random.Random(seed)
        self.where = folder / f"{seed}.db"
        self.tenants = [Omneo(f"https://{name}.test/api/v3", seed) for name in ("one", "two")]
        self.endpoint = self.dice.choice(list(ENDPOINTS))
        self.runs: list[Run] = []
        self.hashes: dict[bytes, str] = {}
        self.done: list[str] = []
        self.pruned: set[str] = set()
        self.in_flight: dict[str, set[str]] = {each.base_url: set() for each in self.tenants}
        self.opened: dict[str, SqlLedger] = {}
        self.new_run()

    def new_run(self) -> None:
        """The next night's export: some transactions as before, some changed."""
        number = len(self.runs)
        change = number if self.dice.random() < 0.7 else 0
        transactions = [staged(n, change if self.dice.random() < 0.4 else 0) for n in range(SIZE)]
        for each in transactions:
            self.hashes[content_hash(each.body)] = json.loads(each.body)["tender"]
        self.runs.append(Run(RunRef(f"r{number}", SIZE, number), transactions))

    def play(self, commands: int) -> None:
        """Some random commands, then calm, and what must hold at the end."""
        try:
            for _ in range(commands):
                self.step()
            self.calm_down()
        finally:
            for omneo in self.tenants:
                self.close(omneo)

    def step(self) -> None:
        """One random command, and what must hold after it."""
        if len(self.runs) < 3 and self.dice.random() < 0.15:
            self.new_run()
        omneo = self.tenants[self.dice.random() < 0.15]
        if self.pruned >= {each.ref.run_id for each in self.runs}:
            self.new_run()
        run = self.dice.choice([each for each in self.runs if each.ref.run_id not in self.pruned])
        omneo.command()
        if self.dice.random() < 0.3:
            omneo.dies_at = self.dice.randint(1, 2 * SIZE)
        elif self.dice.random() < 0.2:
            omneo.stops_at = self.dice.randint(1, 2 * SIZE)
        kinds = ["load", "load", "load", "retry", "confirm", "resend"]
        kinds += ["forget", "work", "webhooks", "prune", "lose"]
        kinds += [] if self.endpoint == "queue-create" else ["void", "revive"]
        self.do(self.dice.choice(kinds), omneo, run)

    def do(self, kind: str, omneo: Omneo, run: Run) -> None:
        """One command."""
        self.done.append(f"{kind} {run.ref.run_id} on {omneo.base_url[8:11]} {omneo.dies_at or ''}")
        if kind == "work":
            omneo.work()
        elif kind == "webhooks":
            self.webhooks(omneo, self.ledger(omneo))
        elif kind == "prune":
            self.prune(run)
        elif kind == "forget":
            self.forget(self.dice.randrange(SIZE))
        elif kind == "lose":
            omneo.lose(f"T{self.dice.randrange(SIZE)}")
        else:
            self.call(kind, omneo, run, mortal(self.ledger(omneo), omneo))
        self.check(omneo)

    def forget(self, number: int) -> None:
        """Take a transaction's contents out of all runs, and then, unless it is killed, tell the ledger."""
        remains = json.dumps({"external_id": f"T{number}", "total": 1.5}).encode()
        is_killed = self.dice.random() < 0.3
        for run in self.runs:
            run.transactions[number] = run.transactions[number]._replace(body=b"", remains=remains)
        for omneo in [] if is_killed else self.tenants:
            ledger = self.ledger(omneo)
            for run_id, tenants in ledger.statuses().items():
                if omneo.base_url in tenants:
                    ledger.forget(run_id, {f"T{number}": number})

    def prune(self, run: Run) -> None:
        """Let go of a run where no tenant that knows it needs any body: nothing is sent of it any more."""
        needs = []
        for omneo in self.tenants:
            ledger = self.ledger(omneo)
            if omneo.base_url in ledger.statuses().get(run.ref.run_id, {}):
                progress, is_passed = ledger.progress(run.ref), ledger.passed(run.ref.run_id)
                known = ledger.find([each.external_id for each in run.transactions], progress.run_no)
                needs += [
                    _is_needed(each, known.get(each.external_id), progress, is_passed=is_passed(at))
                    for at, each in enumerate(run.transactions)
                    if each.body
                ]
        if needs and not any(needs):
            self.pruned.add(run.ref.run_id)

    def webhooks(self, omneo: Omneo, ledger: SqlLedger) -> None:
        """Omneo says what it has, or that it has something no more; events come twice, or of strangers."""
        events = ["transaction.created", "transaction.updated", "transaction.deleted", "profile.updated"]
        names = [f"T{self.dice.randrange(SIZE + 1)}" for _ in range(SIZE)]
        said = [
            {"event": self.dice.choice(events), "data": copies[0] if copies else {"external_id": name}}
            for name in names
            if (copies := omneo.copies.get(name)) or self.dice.random() < 0.1
        ]
        before = ledger.find(names)
        asyncio.run(_posted(ledger, [json.dumps(each).encode() for each in said]))
        worked_off = {each["data"]["external_id"] for each in said if each["event"] in events[:2]}
        for name, record in ledger.find(names).items():
            assert record == before[name] or (name in worked_off and record.state is State.CONFIRMED)

    def ledger(self, omneo: Omneo) -> SqlLedger:
        """The ledger as this process has it open; after a kill it is opened anew."""
        if omneo.base_url not in self.opened:
            opened = self.opened[omneo.base_url] = SqlLedger(self.where, omneo.base_url)
            opened.connection.exec_driver_sql("PRAGMA synchronous=OFF")  # nobody pulls the plug
            opened.connection.commit()
        return self.opened[omneo.base_url]

    def close(self, omneo: Omneo) -> None:
        """Let go of the ledger."""
        if (opened := self.opened.pop(omneo.base_url, None)) is not None:
            opened.close()

    def call(self, kind: str, omneo: Omneo, run: Run, ledger: SqlLedger) -> None:
        """Run a command to its end, or until it is killed."""
        how: dict[str, Any] = {"transport": httpx.MockTransport(omneo.answer), "clock": FakeClock()}
        how["stop"] = omneo.stop
        options = DeliveryOptions(
            endpoint=ENDPOINTS[self.endpoint],
            batch_size=BATCH,
            concurrency=CONCURRENCY,
            policy=RetryPolicy(attempts=3),
            give_up_after_s=60,
            grace_s=0.5,
            on_change=self.dice.choice(list(OnChange)),
            revive=kind == "revive",
        )
        connection = Connection(omneo.base_url, Secret("token"))
        given = (run.ref, run.batches, connection, ledger, options)
        try:
            match kind:
                case "load" | "revive":
                    deliver(*given, **how)
                case "retry":
                    deliver(*given, rules=RetryRules(), **how)
                case "void":
                    void(*given, **how)
                case "confirm":
                    confirm(*given, patience_s=5, **how)
                case "resend":
                    confirm_and_resend(*given, patience_s=5, **how)
        except Killed:
            self.close(omneo)
        else:
            del ledger.record  # type: ignore[method-assign]

    def calm_down(self) -> None:
        """The server tells the truth, and every run is brought to its end."""
        for omneo in self.tenants:
            if not omneo.copies and not omneo.late:
                continue
            omneo.work()
            for kind in ("load", "prune", "retry", "prune", "resend", "load", "confirm"):
                for run in [each for each in self.runs if each.ref.run_id not in self.pruned]:
                    omneo.command(honest=True)
                    self.do(kind, omneo, run)
                    omneo.work()
            self.check(omneo, at_the_end=True)

    def check(self, omneo: Omneo, *, at_the_end: bool = False) -> None:
        """Ledger and server agree, sale by sale."""
        ledger = self.ledger(omneo)
        records = ledger.find([f"T{n}" for n in range(SIZE)])
        for by_tenant in ledger.statuses().values():
            assert all(status.accepted == SIZE for status in by_tenant.values())
        queued = [body["external_id"] for body, _ in omneo.late]
        for name, record in records.items():
            copies = omneo.copies.get(name, [])
            assert len(copies) <= 1, f"{name} is there {len(copies)} times"
            agrees = self.agrees(record, copies, name in queued, is_lost=name in omneo.lost)
            assert agrees, f"{record} but Omneo has {copies}, late: {name in queued}"
        in_flight = {name for name, record in records.items() if record.state in IN_FLIGHT}
        assert (
            len(in_flight - self.in_flight[omneo.base_url]) <= CONCURRENCY * BATCH
        )  # left so by this command
        self.in_flight[omneo.base_url] = in_flight
        if at_the_end and self.endpoint != "queue-create":
            self.check_end(omneo, ledger)

    def check_end(self, omneo: Omneo, ledger: SqlLedger) -> None:
        """Nothing is left that a command could bring to its end."""
        settled = ACCEPTED_BY_OMNEO | {State.PENDING, State.FORGOTTEN, State.IN_DOUBT, State.VOIDING}
        forgotten = {each.external_id for run in self.runs for each in run.transactions if not each.body}
        kept = [run for run in self.runs if run.ref.run_id not in self.pruned]
        bodies = {content_hash(each.body) for run in kept for each in run.transactions if each.body}
        records = ledger.find([f"T{n}" for n in range(SIZE)])
        odd = [
            each
            for name, each in records.items()
            if name not in forgotten
            and (each.state not in settled or (each.state is State.MISSING and each.hash in bodies))
        ]
        assert not odd, odd
        for run in kept if not forgotten else []:
            counts = ledger.counts(run.ref.run_id)
            assert counts[State.REFUSED] == counts[State.FAILED] == 0, (run.ref.run_id, counts)

    def agrees(self, record: Record, copies: list[dict[str, Any]], is_queued: bool, *, is_lost: bool) -> bool:
        """Whether what the ledger says of a transaction can be true."""
        there = copies[0] if copies else None
        version = self.hashes.get(record.hash)
        match record.state:
            case State.DELIVERED | State.CONFIRMED:
                if there is None:
                    return is_queued or is_lost
                is_it = there["tender"] == version and not there["is_void"]
                return is_it or is_queued or record.maybe_sent
            case State.VOIDED:
                is_void = there is not None and bool(there["is_void"])
                return is_queued or is_void or record.maybe_sent or is_lost
            case State.REFUSED | State.FAILED if not record.maybe_sent and record.before is None:
                return there is None or there["tender"] != version
        return True


async def _posted(ledger: SqlLedger, events: Sequence[bytes]) -> None:
    """Send signed events to the receiver."""
    app = webhook_app(ledger, Secret("shared"))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client,
    ):
        for event in events:
            signature = hmac.new(b"shared", event, hashlib.sha256).hexdigest()
            answer = await client.post("/", content=event, headers={SIGNATURE_HEADER: signature})
            assert answer.status_code == 200


def mortal(ledger: SqlLedger, omneo: Omneo) -> SqlLedger:
    """The ledger of a process that may be killed at any write."""
    dead = threading.Event()
    record = ledger.record
    dice = omneo.dice("killed", "")
    dies_at = dice.randint(1, 12) if omneo.dies_at is not None and dice.random() < 0.4 else None
    writes = 0

    def recorded(*args: Any) -> None:
        nonlocal writes
        writes += 1
        if dead.is_set():
            raise Killed
        record(*args)
        if writes == dies_at:
            dead.set()
            raise Killed

    ledger.record = recorded  # type: ignore[method-assign]
    omneo.is_dead, omneo.die = dead.is_set, dead.set
    return ledger
