from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import RunError
from pipeline.staging.manifest import Manifest, PartRecord, read_manifest, write_manifest
from pipeline.staging.staged_run import StagedRun, write_part
from pipeline.staging.workdir import RunDir, Workdir

START = datetime(2024, 1, 1, tzinfo=UTC)


def staged_run(run: RunDir, parts: list[list[int]]) -> StagedRun:
    """A run whose transactions happened at the given minutes."""
    run.staged.mkdir(exist_ok=True)
    records = [write_part(run.shared, n, frame(n, minutes), 300) for n, minutes in enumerate(parts)]
    return StagedRun(run.here, manifest(run, tuple(record for record in records if record is not None)))


def test_a_part_without_transactions_is_no_file(tmp_path: Path) -> None:
    run = Workdir.open(tmp_path).new_run()
    staged_run(run, [[1, 2]])
    assert write_part(run.shared, 0, frame(0, []), 1) is None
    assert not list(run.staged.iterdir())


def frame(part: int, minutes: list[int]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "external_id": [f"{part}-{n}" for n in range(len(minutes))],
            "transacted_at": [START + timedelta(minutes=m) for m in minutes],
            "total": [Decimal("1.50")] * len(minutes),
            "body": [f'{{"external_id":"{part}-{n}"}}' for n in range(len(minutes))],
        },
        schema={
            "external_id": pl.String,
            "transacted_at": pl.Datetime("us", "UTC"),
            "total": pl.Decimal(15, 4),
            "body": pl.String,
        },
    )


def manifest(run: RunDir, parts: tuple[PartRecord, ...]) -> Manifest:
    return Manifest(run.run_id, "2024-01-01T00:00:00Z", {}, "", (), parts, {}, {})


@pytest.mark.slow
@given(
    parts=st.lists(st.lists(st.integers(0, 400), max_size=700), min_size=1, max_size=4),
    start=st.integers(0, 2900),
    group=st.sampled_from([1, 16, 256]),
    held=st.sampled_from([1, 7, 60, 1 << 20]),
)
def test_delivery_is_oldest_first_and_can_begin_anywhere(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]], start: int, group: int, held: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.staging.staged_run._ROWS_IN_GROUPS", 1)
        patch.setattr("pipeline.staging.staged_run._LEAST_IN_GROUP", group)
        patch.setattr("pipeline.staging.staged_run._TIMES_HELD", held)
        staged = staged_run(Workdir.open(tmp_path_factory.mktemp("w")).new_run(), parts)
        _check_order(staged, parts, start)


def _check_order(staged: StagedRun, parts: list[list[int]], start: int) -> None:
    everything = [t for batch in staged.batches() for t in batch]
    rows = [(minute, part, f"{part}-{n}") for part, some in enumerate(parts) for n, minute in enumerate(some)]
    assert [t.external_id for t in everything] == [name for _, _, name in sorted(rows)]
    assert all(t.body == f'{{"external_id":"{t.external_id}"}}'.encode() for t in everything)
    assert [t for batch in staged.batches(start) for t in batch] == everything[start:]


def test_a_part_that_was_changed_after_the_review_is_not_sent(tmp_path: Path) -> None:
    run = Workdir.open(tmp_path).new_run()
    staged = staged_run(run, [[1, 2]])
    staged.verify()
    part = run.staged / staged.manifest.parts[0].file
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError, match="changed after it was reviewed"):
        staged.verify()
    part.unlink()
    with pytest.raises(RunError, match="is gone"):
        staged.verify()


def test_a_manifest_survives_a_round_trip(tmp_path: Path) -> None:
    run = Workdir.open(tmp_path).new_run()
    written = staged_run(run, [[1]]).manifest
    write_manifest(run, written)
    assert read_manifest(run) == written
    assert run.manifest.stat().st_mode & 0o777 == 0o600


def test_a_manifest_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    run = Workdir.open(tmp_path).new_run()
    write_manifest(run, manifest(run, ()))
    run.manifest.write_text(run.manifest.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(RunError, match="newer version"):
        read_manifest(run)
