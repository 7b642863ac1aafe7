"""Each exit code, reached by a real run; bad input is one clear message, with nothing sent or left behind."""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
from pathlib import Path

import polars as pl
import pytest

from pipeline.testing import LocalOmneo
from tests.command import (
    REPOSITORY,
    SAMPLE,
    SUMMARY_KEYS,
    Ended,
    call,
    ended,
    files_with,
    omneo_import,
    open_to_others,
    start,
)
from tests.receipts import COLUMNS, Row, export, receipt, write_export
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

HEADER = ",".join(COLUMNS) + "\n"
MAPPING = (REPOSITORY / "mappings" / "pos_lines.yaml").read_text(encoding="utf-8")


def runs_in(workdir: Path) -> list[Path]:
    return sorted((workdir / "runs").iterdir()) if (workdir / "runs").exists() else []


# ── 2: cannot start ─────────────────────────────────────────────────────────────────────────────────


def assert_refused(result: Ended, *reported: str) -> None:
    assert (result.code, result.stdout) == (2, "")
    for text in reported:
        assert text in result.stderr
    for bad in ("Traceback", "bug", "pipeline.", "<", "None"):
        assert bad not in result.stderr.replace("<tenant>", "")


def junk(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


SOURCES: dict[str, tuple[str, bytes | None, str]] = {
    "no such file": ("nowhere.csv", None, "nowhere.csv does not exist"),
    "no match": ("*.nothing", None, "no file matches"),
    "empty": ("empty.csv", b"", "empty.csv is empty"),
    "blank lines": ("blank.csv", b"\n\n\n", "has no row with column names"),
    "binary": ("binary.csv", bytes(range(256)) * 8, "is a binary file"),
    "picture": ("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(2000), "is a picture"),
    "broken archive": ("broken.csv.gz", gzip.compress(HEADER.encode() * 50)[:-40], "broken.csv.gz"),
    "no archive at all": ("text.csv.zst", b"\x28\xb5\x2f\xfd" + b"not zstd" * 20, "text.csv.zst"),
    "wrong encoding": ("latin.csv", (HEADER + "R1,Caf\xe9").encode("latin-1"), "line 2) is not utf-8"),
    "a column that is not there": (
        "columns.csv",
        (HEADER.replace("sale_total", "sale_totl") + "," * 17 + "\n").encode(),
        "there is no column 'sale_total' in the source; did you mean 'sale_totl'?",
    ),
    "not parquet": ("fake.parquet", b"PAR1" + bytes(40) + b"PAR1", "fake.parquet"),
}


@pytest.mark.parametrize("case", SOURCES)
def test_a_source_that_cannot_be_used_is_one_clear_error(case: str, tmp_path: Path):
    name, content, reported = SOURCES[case]
    source = tmp_path / name
    if content is not None:
        junk(source, content)
    result = call("prepare", "-m", "pos_lines", source, "--workdir", tmp_path / "w")
    assert_refused(result, reported)
    assert runs_in(tmp_path / "w") == []


def test_a_directory_needs_a_file_that_the_mapping_knows(tmp_path: Path):
    junk(tmp_path / "notes.txt", "hello")
    assert_refused(call("prepare", "-m", "pos_lines", tmp_path), "no matching file", "pos_lines*.csv")
    assert_refused(
        call("prepare", "-m", "pos_lines", tmp_path, SAMPLE), "is a directory beside other sources"
    )


def test_files_of_a_directory_that_no_input_matches_are_named(tmp_path: Path):
    (tmp_path / "in").mkdir()
    for name in ("pos_lines_1.csv", "returns.csv", "notes.txt.bak"):
        write_export(tmp_path / "in" / name, receipt(name))
    beside = call("prepare", "-m", "pos_lines", tmp_path / "in", "--workdir", tmp_path / "w")
    assert beside.code == 0
    assert "1 file in " in beside.stderr
    assert "is not read, since no `inputs` of the mapping match: " in beside.stderr
    assert "returns.csv" in beside.stderr
    (tmp_path / "in" / "returns.csv").unlink()
    alone = call("prepare", "-m", "pos_lines", tmp_path / "in", "--workdir", tmp_path / "w", "--all-files")
    assert alone.code == 0
    assert "not read" not in alone.stderr


def test_all_errors_of_a_mapping_are_reported_with_their_places(tmp_path: Path):
    wrong = junk(
        tmp_path / "wrong.yaml",
        MAPPING.replace("layout: lines", "layout: liens")
        .replace("location_id:", "locaton_id:")
        .replace("price_sell: unit_price", "price_sell: {colunm: unit_price}"),
    )
    for result in (
        call("check", "-m", wrong),
        call("prepare", "-m", wrong, SAMPLE, "--workdir", tmp_path / "w"),
    ):
        assert_refused(
            result, "did you mean 'lines'?", "did you mean 'location_id'?", "did you mean 'column'?"
        )
        lines = result.stderr.splitlines()
        assert [line.split(":")[0] for line in lines] == [str(wrong)] * 3
        assert all(part.isdecimal() for line in lines for part in line.split(":")[1:3])
    assert runs_in(tmp_path / "w") == []
    assert_refused(call("check", "-m", "pos_line"), "did you mean 'pos_lines'?")
    assert_refused(call("check", "-m", junk(tmp_path / "empty.yaml", "")), "empty.yaml:1:1: ")
    assert_refused(call("check", "-m", junk(tmp_path / "no.yaml", "a: [1\nb: }")), "no.yaml:1:4: ")
    assert_refused(call("check", "-m", tmp_path), "is a directory")


CONNECTIONS: dict[str, tuple[dict[str, str], str]] = {
    "no token": ({"OMNEO_TENANT": "acme"}, "OMNEO_TOKEN"),
    "no tenant": ({"OMNEO_TOKEN": "t"}, "OMNEO_TENANT"),
    "in the clear": (
        {"OMNEO_BASE_URL": "http://example.com/api/v3", "OMNEO_TOKEN": "sesame"},
        "would send the token unencrypted",
    ),
    "no address": ({"OMNEO_BASE_URL": "omneo", "OMNEO_TOKEN": "sesame"}, "is not an https:// address"),
}


@pytest.mark.parametrize("case", CONNECTIONS)
def test_nothing_is_prepared_for_a_tenant_that_cannot_be_reached(case: str, tmp_path: Path):
    environment, reported = CONNECTIONS[case]
    result = call("run", "-m", "pos_lines", SAMPLE, "--workdir", tmp_path / "w", env=environment)
    assert_refused(result, reported)
    assert "sesame" not in result.stderr
    assert runs_in(tmp_path / "w") == []


def test_a_token_file_must_hold_a_token(omneo: LocalOmneo, tmp_path: Path):
    environment = {"OMNEO_BASE_URL": omneo.base_url}
    arguments = ("run", "-m", "pos_lines", export(tmp_path / "pos_lines.csv", 2), "--workdir", tmp_path / "w")
    assert_refused(call(*arguments, "--token-file", tmp_path / "none", env=environment), "cannot be read")
    assert_refused(
        call(*arguments, "--token-file", junk(tmp_path / "t", "\n"), env=environment), "holds no token"
    )
    good = junk(tmp_path / "good", omneo.token + "\n")
    assert call(*arguments, "--token-file", good, env=environment).code == 0


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/1/nothing", "/dev/null"])
def test_a_workdir_that_cannot_be_made_is_one_clear_error(place: str, tmp_path: Path):
    junk(tmp_path / "file", "here first")
    result = call("prepare", "-m", "pos_lines", SAMPLE, "--workdir", tmp_path / place)
    assert_refused(result, str(tmp_path / place), "--workdir")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_workdir_that_may_not_be_written_is_one_clear_error(tmp_path: Path):
    tmp_path.chmod(0o500)
    assert_refused(
        call("prepare", "-m", "pos_lines", SAMPLE, "--workdir", tmp_path / "w"), "Permission denied"
    )


def test_a_run_is_named_by_its_id_a_unique_start_of_it_or_latest(tmp_path: Path):
    home = ("--workdir", tmp_path / "w")
    source = export(tmp_path / "pos_lines.csv", 1)
    assert_refused(call("report", "latest", *home), "There is no run")
    ids = [call("prepare", "-m", "pos_lines", source, *home, "--json").summary["run_id"] for _ in range(2)]
    for command in ("status", "report"):
        assert_refused(call(command, "nonsense", *home), "There is no run 'nonsense'", "omneo-import status")
        assert_refused(call(command, ids[0][:4], *home), "is the start of 2 runs", *ids)
        assert call(command, ids[0], *home, "--json").summary["run_id"] == ids[0]
        assert call(command, "latest", *home, "--json").summary["run_id"] == max(ids)
    environment = {"OMNEO_BASE_URL": "http://127.0.0.1:9/api/v3", "OMNEO_TOKEN": "t"}
    for command in ("load", "retry", "confirm", "void", "preflight"):
        assert_refused(call(command, "nonsense", *home, env=environment), "There is no run 'nonsense'")


def test_a_staged_run_that_was_changed_is_not_sent(omneo: LocalOmneo, tmp_path: Path):
    home = ("--workdir", tmp_path / "w")
    prepared = call("prepare", "-m", "pos_lines", export(tmp_path / "pos_lines.csv", 3), *home, "--json")
    (part,) = (Path(prepared.summary["run_dir"]) / "staged").iterdir()
    part.write_bytes(part.read_bytes()[:-1] + b"!")
    assert_refused(
        call("load", "latest", *home, env=omneo.environment()), "was changed after it was reviewed"
    )
    part.unlink()
    assert_refused(call("load", "latest", *home, env=omneo.environment()), "is gone")
    assert omneo.arrivals() == []


USAGE: dict[str, tuple[list[object], str]] = {
    "command": (["lod"], "No such command 'lod'; did you mean 'load'?"),
    "option": (["prepare", "--log-formt", "json"], "Did you mean '--log-format'?"),
    "no source": (["prepare", "-m", "pos_lines"], "SOURCE"),
    "no mapping": (["prepare", SAMPLE], "--mapping"),
    "rate": (["load", "latest", "--rate", "fast"], "expected something like 600/min"),
    "gate": (["prepare", "-m", "pos_lines", SAMPLE, "--max-rejected", "some"], "'some' is neither a count"),
    "token": (["load", "latest", "--token", "sesame"], "--token-file"),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage_says_what_was_expected(case: str):
    arguments, reported = USAGE[case]
    result = call(*arguments)
    assert (result.code, result.stdout) == (2, "")
    assert reported in result.stderr


def test_an_error_is_json_for_those_who_asked(tmp_path: Path):
    result = call(
        *("prepare", "-m", "pos_lines", tmp_path / "no.csv", "--workdir", tmp_path / "w"),
        *("--json", "--log-format", "json"),
    )
    assert result.code == 2
    assert "no.csv does not exist" in result.summary["error"]
    assert [json.loads(line)["exit_code"] for line in result.stderr.splitlines()] == [2]


# ── 0 with nothing to do ────────────────────────────────────────────────────────────────────────────


def test_an_export_without_a_sale_is_a_run_with_nothing_to_send(omneo: LocalOmneo, tmp_path: Path):
    quiet_day = junk(tmp_path / "pos_lines_quiet_day.csv", HEADER)
    result = call("run", "-m", "pos_lines", quiet_day, "--workdir", tmp_path / "w", env=omneo.environment())
    assert result.code == 0
    assert "Nothing to import" in result.stdout
    again = call("load", "latest", "--workdir", tmp_path / "w", "--json", env=omneo.environment())
    assert (again.code, set(again.summary["transactions"].values())) == (0, {0})
    assert omneo.arrivals() == []


@pytest.mark.parametrize(
    ("rows", "rejected"),
    [([], 0), (receipt(1, sale_total=""), 1), (receipt(1, status="DRAFT"), 0), (receipt(1), 0)],
    ids=["nothing", "rejected", "dropped", "accepted"],
)
def test_every_run_has_the_same_files_with_the_same_columns(rows: list[Row], rejected: int, tmp_path: Path):
    source = write_export(tmp_path / "pos_lines.csv", rows)
    summary = call("prepare", "-m", "pos_lines", source, "--workdir", tmp_path / "w", "--json").summary
    directory = Path(summary["run_dir"])
    staged = pl.read_parquet(directory / "staged" / "*.parquet")
    assert dict(staged.schema) == {
        "external_id": pl.String,
        "transacted_at": pl.Datetime("us", "UTC"),
        "total": pl.Decimal(15, 4),
        "body": pl.String,
        "source": pl.String,
        "line": pl.Int64,
        "source_time": pl.Int64,
        "warnings": pl.String,
    }
    assert staged.height == summary["transactions"]["accepted"]
    reasons = pl.read_parquet(directory / "quarantine" / "*.parquet")
    texts = ("outcome", "code", "field", "value", "message", "source", "external_id", "raw")
    assert dict(reasons.schema) == dict.fromkeys(texts, pl.String) | {"line": pl.Int64}
    assert reasons.filter(pl.col("outcome") == "rejected").height == rejected
    assert open_to_others(tmp_path / "w") == []


# ── 3: the gate ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def half_bad(tmp_path: Path) -> Path:
    """Four sales, two of them rejected."""
    rows = [row for n in range(4) for row in receipt(n, sale_total="99.00" if n % 2 else "5.00")]
    return write_export(tmp_path / "pos_lines_half_bad.csv", rows)


@pytest.mark.parametrize(("limit", "code"), [("2", 0), ("1", 3), ("50%", 0), ("49.9 %", 3)])
def test_the_gate_closes_above_the_limit_and_stays_closed(
    limit: str, code: int, half_bad: Path, omneo: LocalOmneo, tmp_path: Path
):
    home, environment = ("--workdir", tmp_path / "w", "--json"), omneo.environment()
    result = call("run", "-m", "pos_lines", half_bad, "--max-rejected", limit, *home, env=environment)
    assert (result.code, set(result.summary)) == (code, SUMMARY_KEYS)
    assert len(omneo.arrivals()) == (0 if code else 2)
    if code:
        for command in ("load", "retry"):
            closed = call(command, "latest", *home, env=environment)
            assert (closed.code, set(closed.summary)) == (3, SUMMARY_KEYS)
            assert f"More than {limit} of run" in closed.stderr
        assert omneo.arrivals() == []
        assert (
            "reject" in call("status", "latest", "--workdir", tmp_path / "w").stdout.splitlines()[0].lower()
        )
        quiet = call("prepare", "-m", "pos_lines", half_bad, "--max-rejected", limit, "-q", *home)
        assert (quiet.code, f"More than {limit} of run" in quiet.stderr) == (3, True)


# ── 5: stopped by the API ───────────────────────────────────────────────────────────────────────────


def test_a_refused_token_stops_at_once_and_is_not_reported(omneo: LocalOmneo, tmp_path: Path):
    source, home = export(tmp_path / "pos_lines.csv", 200), tmp_path / "w"
    environment = {"OMNEO_BASE_URL": omneo.base_url, "OMNEO_TOKEN": "sesame"}
    result = call("run", "-m", "pos_lines", source, "--workdir", home, "--json", env=environment)
    assert (result.code, set(result.summary)) == (5, SUMMARY_KEYS)
    assert result.summary["delivery"]["pending"] == 200
    assert result.summary["requests"]["sent"] <= 64
    assert "sesame" not in result.stdout + result.stderr
    assert files_with("sesame", home) == []
    assert call("confirm", "latest", "--workdir", home, env=environment).code == 0  # nothing was taken
    assert call("load", "latest", "--workdir", home, env=omneo.environment()).code == 0
    assert len(omneo.transactions()) == 200
    looked = call("confirm", "latest", "--workdir", home, "--json", env=environment)
    assert (looked.code, set(looked.summary), looked.summary["confirmed"]) == (5, SUMMARY_KEYS, 0)
    assert looked.summary["requests"]["sent"] > 0
    assert "sesame" not in looked.stdout + looked.stderr


def test_confirm_judges_what_was_sent(omneo: LocalOmneo, tmp_path: Path):
    home = ("--workdir", tmp_path / "w", "--json")
    assert call("prepare", "-m", "pos_lines", export(tmp_path / "pos_lines.csv", 10), *home).code == 0
    before = call("confirm", "latest", *home, env=omneo.environment())
    assert (before.code, before.summary["delivery"]["pending"]) == (0, 10)
    omneo.set_faults(refused_share=0.5)
    assert call("load", "latest", *home, env=omneo.environment()).code == 4
    some = call("confirm", "latest", *home, env=omneo.environment())
    refused = some.summary["delivery"]["refused"]
    assert (some.code, some.summary["confirmed"], some.summary["missing"]) == (4, 10 - refused, 0)
    omneo.set_faults(refused_share=0)
    assert call("retry", "latest", *home, env=omneo.environment()).code == 0
    assert call("confirm", "latest", *home, env=omneo.environment()).code == 0


def test_an_outage_past_the_limit_stops_and_load_goes_on(omneo: LocalOmneo, tmp_path: Path):
    source, home = export(tmp_path / "pos_lines.csv", 20), ("--workdir", tmp_path / "w", "--json")
    omneo.set_faults(outage=True)
    result = call("run", "-m", "pos_lines", source, "--give-up-after", "0.3s", *home, env=omneo.environment())
    assert (result.code, result.summary["delivery"]["delivered"]) == (5, 0)
    left = result.summary["delivery"]
    assert left["pending"] + left["failed"] + left["in_doubt"] == 20
    omneo.set_faults(outage=False)
    assert call("load", "latest", *home, env=omneo.environment()).summary["delivery"]["delivered"] == 20


# ── 6, 130, 143: other processes and signals ────────────────────────────────────────────────────────


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_what_is_in_flight_and_load_goes_on(
    number: signal.Signals, code: int, omneo: LocalOmneo, tmp_path: Path
):
    source, home = export(tmp_path / "pos_lines.csv", 100), ("--workdir", tmp_path / "w", "--json")
    omneo.set_faults(latency_s=0.1)
    running = start(
        *("run", "-m", "pos_lines", source, *home, "--concurrency", 2, "--log-format", "json"),
        env=omneo.environment(),
    )
    wait_for(omneo.arrivals)
    for command in (["load", "latest"], ["run", "-m", "pos_lines", source]):
        busy = call(*command, *home, env=omneo.environment())
        assert busy.code == 6
        assert f"in use by process {running.pid}" in busy.stderr
    assert call("status", "latest", *home).summary["delivery"]["pending"] > 0
    running.send_signal(number)
    stopped = ended(running)
    assert stopped.code == code
    arrived = len(omneo.arrivals())
    assert 0 < arrived < 100
    assert (
        stopped.summary["delivery"] | {"delivered": arrived, "pending": 100 - arrived}
        == stopped.summary["delivery"]
    )
    events = [json.loads(line) for line in stopped.stderr.splitlines()]
    assert [event["exit_code"] for event in events if event["event"] == "run_finished"] == [0, code]
    omneo.set_faults(latency_s=0)
    finished = call("load", "latest", *home, env=omneo.environment())
    assert (finished.code, finished.summary["requests"]["sent"]) == (0, 100 - arrived)
    assert len({each.external_id for each in omneo.arrivals()}) == len(omneo.arrivals()) == 100


@pytest.mark.parametrize("command", ["listen", "simulate"])
def test_a_server_is_ended_by_a_signal(command: str, tmp_path: Path):
    home = ("--workdir", tmp_path / "w", "--port", 0, "--json")
    process = start(command, *home, env={"OMNEO_WEBHOOK_SECRET": "s"})
    assert process.stderr is not None
    assert "http://127.0.0.1:" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    stopped = ended(process)
    assert (stopped.code, json.loads(stopped.stdout)) == (143, {"exit_code": 143})


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that takes some time to prepare."""
    return export(tmp_path_factory.mktemp("large") / "pos_lines.csv", 20_000)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_preparing_leaves_no_run(
    number: signal.Signals, code: int, large: Path, tmp_path: Path
):
    home = tmp_path / "w"
    process = start("prepare", "-m", "pos_lines", large, "--workdir", home)
    wait_for(lambda: list(home.glob("runs/*/staged")))
    process.send_signal(number)
    stopped = ended(process)
    assert (stopped.code, runs_in(home)) == (code, [])
    assert "nothing was sent" in stopped.stderr


def test_a_killed_load_goes_on_without_a_second_copy(omneo: LocalOmneo, tmp_path: Path):
    source, home = export(tmp_path / "pos_lines.csv", 60), ("--workdir", tmp_path / "w", "--json")
    omneo.set_faults(latency_s=0.1)
    process = start("run", "-m", "pos_lines", source, *home, "--concurrency", 3, env=omneo.environment())
    wait_for(lambda: len(omneo.arrivals()) > 5)
    process.kill()
    assert ended(process).code == -signal.SIGKILL
    omneo.set_faults(latency_s=0)
    omneo.drain()
    before = len(omneo.arrivals())
    finished = call("load", "latest", *home, env=omneo.environment())
    assert (finished.code, finished.summary["delivery"]["delivered"]) == (0, 60)
    arrivals = [each.external_id for each in omneo.arrivals()]
    assert len(set(arrivals)) == len(arrivals) == 60
    assert before < 60


def test_a_crash_while_preparing_is_cleared_away_by_the_next(large: Path, tmp_path: Path):
    home = tmp_path / "w"
    process = start("prepare", "-m", "pos_lines", large, "--workdir", home)
    wait_for(lambda: runs_in(home))
    process.kill()
    ended(process)
    (left,) = runs_in(home)
    assert call("prepare", "-m", "pos_lines", export(tmp_path / "small.csv", 2), "--workdir", home).code == 0
    assert left not in runs_in(home)
    assert len(runs_in(home)) == 1


def test_a_reader_of_the_output_that_goes_away_is_no_error(tmp_path: Path):
    process = start("prepare", "-m", "pos_lines", SAMPLE, "--workdir", tmp_path / "w")
    assert process.stdout is not None
    process.stdout.close()
    stderr = process.communicate(timeout=120)[1]
    assert "Traceback" not in stderr
    assert "bug" not in stderr


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")
def test_a_full_disk_is_no_bug(omneo: LocalOmneo, tmp_path: Path):
    home, source = ("--workdir", tmp_path / "w", "--json"), export(tmp_path / "sales.csv", 2_000)
    assert call("prepare", "-m", "pos_lines", source, *home).code == 0
    for size in (1_000, 40_000, 250_000):  # of a file: nothing fits, hardly the ledger, a part of it
        process = start("load", "latest", *home, env=omneo.environment())
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
        full = ended(process)
        assert full.code == 2, full.stderr
        assert "cannot be" in full.stderr
        assert "Nothing is lost" in full.stderr
    done = call("load", "latest", *home, env=omneo.environment())
    assert (done.code, done.summary["delivery"]["delivered"]) == (0, 2_000)


def test_a_bug_is_reported_as_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from pipeline.workflows import prepare

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(prepare, "prepare", broken)
    short = call("prepare", "-m", "pos_lines", SAMPLE, "--workdir", tmp_path / "w")
    assert (short.code, "Traceback" in short.stderr) == (1, False)
    assert "A bug in omneo-import: ZeroDivisionError: by nothing" in short.stderr
    long = call("prepare", "-m", "pos_lines", SAMPLE, "--workdir", tmp_path / "w", "-v")
    assert (long.code, "Traceback" in long.stderr) == (1, True)
    assert omneo_import("--version").stdout.startswith("omneo-import, version ")
