"""Sources in an object store, over its real interface: found, read and remembered as local ones are."""

from __future__ import annotations

import bz2
import gzip
import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.core.errors import SettingsError, SourceError
from pipeline.core.model import Dialect
from pipeline.extract import find_sources, open_reader
from pipeline.extract.source_files import fingerprint, unchanged
from pipeline.mapping.functions.lookup_tables import load_tables
from pipeline.staging.manifest import read_manifest
from pipeline.staging.workdir import RunDir
from pipeline.testing import LocalOmneo
from tests.command import SAMPLE, call, omneo_import, staged_rows
from tests.mapping.mapping_cases import spec_of
from tests.receipts import export, receipt, write_export
from tests.workbooks import workbook

pytestmark = pytest.mark.slow

TEXT = b"id,total\n1,2.50\n2,3.00\n"
GLOBS = ["*.csv", "*.csv.gz", "*.csv.bz2", "*.parquet", "*.xlsx"]


def parquet() -> bytes:
    stream = io.BytesIO()
    pl.DataFrame({"id": ["1", "2"], "total": ["2.50", "3.00"]}).write_parquet(stream)
    return stream.getvalue()


def excel() -> bytes:
    stream = io.BytesIO()
    workbook(stream, [["id", "total"], ["1", "2.50"], ["2", "3.00"]])
    return stream.getvalue()


CONTENTS = {
    "in/a.csv": TEXT,
    "in/b.csv.gz": gzip.compress(TEXT),
    "in/c.csv.bz2": bz2.compress(TEXT),
    "in/d.parquet": parquet(),
    "in/e.xlsx": excel(),
}


@pytest.fixture
def filled(store: Any, bucket: str) -> str:
    for name, content in {**CONTENTS, "in/notes.md": b"none of it"}.items():
        store.pipe_file(f"{bucket}/{name}", content)
    return bucket


def test_a_prefix_is_searched_with_the_mappings_globs_and_every_format_is_read(filled: str) -> None:
    files = find_sources([f"{filled}/in/"], GLOBS)
    assert [file.uri for file in files] == [f"{filled}/{name}" for name in CONTENTS]
    for file in files:
        rows = pl.concat([batch.rows for batch in open_reader(file, Dialect()).batches()])
        assert rows.select("id", "total").rows() == [("1", "2.50"), ("2", "3.00")], file.name


def test_globs_and_single_objects_are_found(filled: str) -> None:
    assert [f.uri for f in find_sources([f"{filled}/in/*.csv*"], [])] == [
        f"{filled}/in/a.csv",
        f"{filled}/in/b.csv.gz",
        f"{filled}/in/c.csv.bz2",
    ]
    (one,) = find_sources([f"{filled}/in/a.csv"], [])
    assert (one.size, one.modified is not None, one.found) == (len(TEXT), True, False)


def test_an_object_has_the_fingerprint_of_the_same_file_on_disk(filled: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(TEXT)
    (local,), (remote,) = (
        find_sources([str(tmp_path / "a.csv")], []),
        find_sources([f"{filled}/in/a.csv"], []),
    )
    assert fingerprint(local) == fingerprint(remote)


def test_an_object_that_is_replaced_or_removed_meanwhile_is_seen(filled: str, store: Any) -> None:
    first, second = find_sources([f"{filled}/in/a.csv", f"{filled}/in/b.csv.gz"], [])
    assert unchanged(first)
    store.pipe_file(first.uri, TEXT * 2)
    store.rm_file(second.uri)
    assert not unchanged(first)
    assert not unchanged(second)


def test_an_object_that_is_replaced_within_a_second_by_one_of_the_same_size_is_seen(
    filled: str, store: Any
) -> None:
    (first,) = find_sources([f"{filled}/in/a.csv"], [])
    (listed,) = find_sources([filled + "/in"], ["a.csv"])
    assert unchanged(listed)
    store.pipe_file(first.uri, TEXT.replace(b"3.00", b"4.00"))
    (now,) = find_sources([first.uri], [])
    # As if both had been written within the same second.
    assert not unchanged(replace(first, modified=now.modified))


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.csv", "does not exist"), ("in/z*.csv", "no file matches"), ("in", "no matching file; looked")],
)
def test_what_is_not_there_is_reported(filled: str, name: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        find_sources([f"{filled}/{name}"], ["*.xyz"])


def test_missing_credentials_are_reported_as_such(
    filled: str, store: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    type(store).clear_instance_cache()
    with pytest.raises(SourceError, match=r"cannot be read") as raised:
        find_sources([f"{filled}/in/a.csv"], [])
    assert "credentials" in raised.value.hint


def test_without_the_extra_it_says_what_to_install(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(SourceError) as raised:
        find_sources(["s3://sales/a.csv"], [])
    assert "pip install 'omneo-import[s3]'" in str(raised.value)


def test_a_run_from_a_store_stages_the_same_bytes_as_from_a_disk(
    store: Any, bucket: str, workdir: Path, s3_environment: dict[str, str]
) -> None:
    store.pipe_file(f"{bucket}/nightly/{SAMPLE.name}.gz", gzip.compress(SAMPLE.read_bytes()))
    remote = omneo_import(
        *("prepare", "-m", "pos_lines", "--json", "--workdir", workdir, f"{bucket}/nightly/*"),
        env=s3_environment,
    )
    assert remote.code == 0, remote.stderr
    local = call("prepare", "-m", "pos_lines", "--json", "--workdir", workdir, SAMPLE).summary
    assert remote.summary["transactions"] == local["transactions"]
    assert staged_rows(Path(remote.summary["run_dir"])).equals(staged_rows(Path(local["run_dir"])))
    there = read_manifest(RunDir(Path(remote.summary["run_dir"])))
    assert there.sources[0].uri == f"{bucket}/nightly/{SAMPLE.name}.gz"


def test_the_second_night_takes_only_what_is_new_in_the_store(
    store: Any, bucket: str, workdir: Path, tmp_path: Path, omneo: LocalOmneo
) -> None:
    store.put_file(str(export(tmp_path / "one.csv", 20)), f"{bucket}/day-1.csv")
    arguments = ("run", "-m", "pos_lines", "--json", "--workdir", workdir, f"{bucket}/*.csv")
    assert call(*arguments, env=omneo.environment()).summary["delivery"]["delivered"] == 20
    assert call(*arguments, env=omneo.environment()).summary["transactions"]["read"] == 0
    late = write_export(tmp_path / "two.csv", receipt("late"))
    store.put_file(str(late), f"{bucket}/day-2.csv")
    night = call(*arguments, env=omneo.environment()).summary
    assert (night["transactions"]["read"], night["delivery"]["delivered"]) == (1, 1)


def test_a_look_up_table_among_the_sources_of_a_store(filled: str, tmp_path: Path) -> None:
    spec = spec_of("""
    source: {layout: headers, key: [id]}
    lookups:
      text: {file: b.csv.gz, key: [id], from: source}
      parquet: {file: d.parquet, key: [id], from: source}
    transaction: {external_id: id}
    """)
    objects = [file.uri for file in find_sources([f"s3://{filled}/in"], GLOBS)]
    tables, issues = load_tables(spec, tmp_path, objects)
    assert issues == []
    assert [table.column("total").to_list() for table in tables.values()] == [["2.50", "3.00"]] * 2
    with pytest.raises(SettingsError, match="cannot be read"):
        load_tables(spec, tmp_path, [f"{objects[0].rpartition('/')[0]}/gone/b.csv.gz"])
