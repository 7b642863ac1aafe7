"""Look-up tables: where they may be, what is an error in them, and misses."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from pipeline.mapping.functions.lookup_tables import load_tables
from pipeline.mapping.layout.raw_transactions import build_transactions
from tests.mapping.mapping_cases import CompileError, compiled_of, mapped_of, problem_rows, spec_of, tables_of

SPEC = """
source: {layout: headers, key: [id]}
lookups:
  stores: {file: stores.csv, key: [code]}
transaction:
  external_id: id
  location_id: {lookup: stores, key: store, value: name}
"""
STORES = "code,name,zone\nA, Melbourne ,Australia/Melbourne\nB,Sydney,Australia/Sydney\nC,,\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    here = tmp_path / "mappings"
    here.mkdir()
    (here / "stores.csv").write_text(STORES)
    return here


def issue(directory: Path, spec: str = SPEC, sources: tuple[str, ...] = ()) -> str:
    parsed = spec_of(spec)
    with pytest.raises(CompileError) as error:
        compiled_of(parsed, tables_of(parsed, "id,store\n1,A\n"), directory, sources)
    return str(error.value)


def test_a_value_is_looked_up_and_misses_are_reported_with_their_key(directory: Path) -> None:
    mapped = mapped_of(SPEC, "id,store\n1,A\n2, B\n3,Z\n4,\n5,C\n", directory)
    assert mapped.headers["location_id"].to_list() == ["Melbourne", "Sydney", None, None, None]
    assert problem_rows(mapped.problems, "code", "field", "value", "__line") == [
        ("lookup_missing", "location_id", "Z", 4)
    ]
    assert "stores" in mapped.problems["message"][0]


def test_a_miss_may_be_blank(directory: Path) -> None:
    spec = SPEC.replace("value: name", "value: name, missing: blank")
    mapped = mapped_of(spec, "id,store\n1,Z\n", directory)
    assert mapped.headers["location_id"].to_list() == [None]
    assert mapped.problems.is_empty()


def test_look_ups_follow_one_another_and_take_several_keys(directory: Path) -> None:
    (directory / "tills.csv").write_text("store,till,place\nA,1,B\nA,11,A\nA1,1,C\n")
    spec = SPEC.replace("lookups:", "lookups:\n  tills: {file: tills.csv, key: [store, till]}").replace(
        "key: store", "key: {lookup: tills, key: [store, till], value: place}"
    )
    mapped = mapped_of(spec, "id,store,till\n1,A,1\n2,A,11\n3,A1,1\n4,A,2\n5,A,\n", directory)
    assert mapped.headers["location_id"].to_list() == ["Sydney", "Melbourne", None, None, None]
    assert problem_rows(mapped.problems, "code", "value") == [("lookup_missing", "A, 2")]


def test_a_zone_by_store(directory: Path) -> None:
    spec = """
    source: {layout: headers, key: [id]}
    lookups: {stores: {file: stores.csv, key: [code]}}
    transaction:
      transacted_at:
        column: at
        then: [{datetime: {formats: [iso], timezone: {lookup: stores, key: store, value: zone}}}]
    """
    mapped = mapped_of(spec, "id,store,at\n1,A,2021-07-01 10:00\n2,C,2021-07-01 10:00\n", directory)
    assert [str(at) for at in mapped.headers["transacted_at"]] == ["2021-07-01 00:00:00", "None"]
    assert mapped.headers["transacted_at|nonexistent"].to_list() == [False, False]


def test_a_parquet_table(directory: Path) -> None:
    pl.DataFrame({"code": ["A"], "name": ["Perth"]}).write_parquet(directory / "stores.parquet")
    mapped = mapped_of(SPEC.replace("stores.csv", "stores.parquet"), "id,store\n1,A\n", directory)
    assert mapped.headers["location_id"].to_list() == ["Perth"]


def test_a_dialect_of_its_own(directory: Path) -> None:
    (directory / "stores.csv").write_bytes("A;Zürich\nB;Genf\n".encode("cp1252"))
    spec = SPEC.replace(
        "key: [code]}", "key: [code], csv: {delimiter: ;, encoding: cp1252, header: [code, name]}}"
    )
    mapped = mapped_of(spec, "id,store\n1,A\n2,B\n", directory)
    assert mapped.headers["location_id"].to_list() == ["Zürich", "Genf"]


def test_the_delimiter_is_found(directory: Path) -> None:
    (directory / "stores.csv").write_text("code\tname\nA\tPerth, WA\n")
    assert mapped_of(SPEC, "id,store\n1,A\n", directory).headers["location_id"].to_list() == ["Perth, WA"]


def test_a_table_among_the_sources(tmp_path: Path, directory: Path) -> None:
    source = tmp_path / "export" / "stores_2024.csv"
    source.parent.mkdir()
    source.write_text(STORES)
    spec = spec_of(SPEC.replace("file: stores.csv", "file: stores_*.csv, from: source"))
    tables = tables_of(spec, "id,store\n1,A\n")
    compiled = compiled_of(spec, tables, directory, (str(source), "/elsewhere/lines.csv"))
    assert compiled.apply(build_transactions(tables, spec)).headers["location_id"].to_list() == ["Melbourne"]
    assert "no source file is called stores_*.csv" in issue(
        directory, SPEC.replace("file: stores.csv", "file: stores_*.csv, from: source")
    )


@pytest.mark.parametrize("path", ["../secret.csv", "/etc/passwd", "link.csv", "deep/../../secret.csv"])
def test_nothing_is_read_outside_of_the_mappings_directory(directory: Path, path: str) -> None:
    (directory.parent / "secret.csv").write_text(STORES)
    (directory / "link.csv").symlink_to(directory.parent / "secret.csv")
    assert "is not under the mapping's own directory" in issue(directory, SPEC.replace("stores.csv", path))


def test_a_link_within_the_directory_is_fine(directory: Path) -> None:
    (directory / "link.csv").symlink_to(directory / "stores.csv")
    mapped = mapped_of(SPEC.replace("stores.csv", "link.csv"), "id,store\n1,A\n", directory)
    assert mapped.headers["location_id"].to_list() == ["Melbourne"]


def test_a_key_that_is_there_twice_is_an_error(directory: Path) -> None:
    (directory / "stores.csv").write_text(STORES + "B,Perth,\nA,Perth,\n")
    assert "lookups.stores: stores.csv has the key 'A' on several rows" in issue(directory)


def test_rows_without_a_key_are_left_out(directory: Path) -> None:
    (directory / "stores.csv").write_text(STORES + ",Perth,\n ,Hobart,\n")
    assert mapped_of(SPEC, "id,store\n1,B\n", directory).headers["location_id"].to_list() == ["Sydney"]


def test_a_table_whose_rows_are_given_is_not_read(directory: Path) -> None:
    spec = spec_of(
        SPEC.replace("key: [code]}", "key: [code]}\n  regions: {file: none.csv, key: [x], from: source}")
    )
    given = {"stores": pl.DataFrame({"code": [" A"], "name": ["Perth"]})}
    tables, issues = load_tables(spec, directory, None, given)
    assert issues == []
    assert tables["stores"].column("name").to_list() == ["Perth"]
    assert tables["stores"].keys.to_list() == ["A"]
    assert tables["regions"].column("any").is_empty()
    assert [each.location for each in load_tables(spec, directory, ())[1]] == [("lookups", "regions")]


@pytest.mark.parametrize("name", ["STORES.XLSX", "stores.Parquet", "stores[1].csv"])
def test_names_of_files_are_taken_as_they_are(directory: Path, name: str) -> None:
    if name.endswith(".csv"):
        (directory / name).write_text("code,name\nA,Perth\n")
        (directory / "stores1.csv").write_text("code,name\nA,Hobart\n")
    else:
        pl.DataFrame({"code": ["A"], "name": ["Perth"]}).write_parquet(directory / name)
    spec = SPEC.replace("stores.csv", name) if "[" not in name else SPEC.replace("stores.csv", f"'{name}'")
    if name.endswith("XLSX"):
        assert "is an Excel workbook" in issue(directory, spec)
    else:
        mapped = mapped_of(spec, "id,store\n1,A\n", directory)
        assert mapped.headers["location_id"].to_list() == ["Perth"]


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf_8_sig", "ascii"])
@pytest.mark.parametrize("lead", ["", "1\n"])
def test_the_encoding_of_a_table_has_any_spelling(directory: Path, encoding: str, lead: str) -> None:
    skip = len(lead.splitlines())
    (directory / "stores.csv").write_text(f"{lead}7|name\nA|Perth\n")
    spec = SPEC.replace("key: [code]}", f"key: ['7'], csv: {{encoding: {encoding}, skip_lines: {skip}}}}}")
    assert mapped_of(spec, "id,store\n1,A\n", directory).headers["location_id"].to_list() == ["Perth"]


def test_rows_that_are_alike_are_no_error(directory: Path) -> None:
    (directory / "stores.csv").write_text(STORES + "B,Sydney,Australia/Sydney\n")
    assert mapped_of(SPEC, "id,store\n1,B\n", directory).headers["location_id"].to_list() == ["Sydney"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("stores.csv", "shops.csv", "there is no file 'shops.csv' beside the mapping"),
        ("key: [code]", "key: [cod]", "no column 'cod'; did you mean 'code'?"),
        ("value: name", "value: nam", "no column 'nam'; did you mean 'name'?"),
        ("lookup: stores", "lookup: store", "'store' is not among `lookups`; did you mean 'stores'?"),
    ],
)
def test_what_is_wrong_is_reported_with_the_nearest_name(
    directory: Path, old: str, new: str, message: str
) -> None:
    assert message in issue(directory, SPEC.replace(old, new))


def test_a_table_that_cannot_be_read(directory: Path) -> None:
    (directory / "stores.csv").write_bytes(b"code,name\n\xff\xfe,x\n")
    assert "cannot be read" in issue(directory)


def test_an_empty_table_has_no_key(directory: Path) -> None:
    (directory / "stores.csv").write_text("code,name\n")
    mapped = mapped_of(SPEC, "id,store\n1,A\n", directory)
    assert problem_rows(mapped.problems, "code", "value") == [("lookup_missing", "A")]


def test_names_in_a_table_are_those_of_any_header(directory: Path) -> None:
    (directory / "stores.csv").write_text("code,*, pl\u00a0ace \nA,Melbourne,here\n")
    spec = SPEC.replace("value: name", "value: column*").replace(
        "external_id: id", "external_id: id\n  staff_id: {lookup: stores, key: store, value: pl ace}"
    )
    headers = mapped_of(spec, "id,store\n1,A\n", directory).headers
    assert headers.select("location_id", "staff_id").row(0) == ("Melbourne", "here")


def test_a_workbook_is_no_look_up_table(directory: Path) -> None:
    (directory / "stores.xlsx").write_bytes(b"PK")
    message = issue(directory, SPEC.replace("stores.csv", "stores.xlsx"))
    assert "is an Excel workbook, and look-up tables are CSV or Parquet; save it as CSV" in message


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, "zstd", asbytes=True))


CSV, LINE = STORES.encode(), b'{"code": "A", "name": "Melbourne"}\n'


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("stores.jsonl", LINE, "JSON"),
        ("STORES.JSONL", LINE, "JSON"),
        ("stores.ndjson.gz", gzip.compress(LINE, mtime=0), "JSON"),
        ("stores.json", b"[" + LINE + b"]", "JSON"),
        ("stores.csv", b"\xef\xbb\xbf\n" + LINE, "JSON"),
        ("stores.txt", b"[" + LINE + b"]", "JSON"),
        ("stores.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(64), "an Excel workbook"),
        ("stores.ods", b"PK\x03\x04", "an Excel workbook"),
        ("stores.csv.zip", b"PK\x03\x04" + bytes(64), "a zip archive or a workbook"),
        ("stores.PARQUET", CSV, "no Parquet file, though its name says so"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_what_cannot_be_a_look_up_table_is_named(
    directory: Path, name: str, content: bytes, kind: str, encoding: str
) -> None:
    (directory / name).write_bytes(content)
    spec = SPEC.replace("stores.csv, key: [code]", f"{name}, key: [code], csv: {{encoding: {encoding}}}")
    assert f"{name} is {kind}, and look-up tables are CSV or Parquet; save it as CSV" in issue(
        directory, spec
    )


def test_a_table_may_begin_with_a_skippable_frame(directory: Path) -> None:
    frame = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"
    (directory / "stores.csv").write_bytes(frame + zstd(CSV))
    assert mapped_of(SPEC, "id,store\n1,A\n", directory).headers["location_id"].to_list() == ["Melbourne"]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstd])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_a_compressed_table_may_have_any_encoding(
    directory: Path, pack: Callable[[bytes], bytes], encoding: str
) -> None:
    (directory / "stores.packed").write_bytes(pack("code,name\nA,Orléans\n".encode(encoding)))
    spec = SPEC.replace(
        "stores.csv, key: [code]", f"stores.packed, key: [code], csv: {{encoding: {encoding}}}"
    )
    assert mapped_of(spec, "id,store\n1,A\n", directory).headers["location_id"].to_list() == ["Orléans"]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstd])
def test_a_packed_table_that_is_cut_off(directory: Path, pack: Callable[[bytes], bytes]) -> None:
    (directory / "stores.csv").write_bytes(pack(CSV)[:-9])
    assert "stores.csv cannot be read: " in issue(directory)
