"""Finding sources, what is refused, decompression and fingerprints."""

from __future__ import annotations

import bz2
import gzip
import os
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest

from pipeline.core.errors import SourceError
from pipeline.core.model import Dialect
from pipeline.extract import Reader, SourceFile, find_sources, fingerprint, open_reader, readers, source_files
from pipeline.extract.source_files import named_sources, open_text

TEXT = b"id,total\n1,2.50\n"
GLOBS = ["*.csv", "nested/*.csv"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.csv", "a.csv", "notes.txt", ".hidden.csv", "nested/c.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(TEXT)
    return tmp_path


@pytest.fixture
def bucket() -> Iterator[fsspec.AbstractFileSystem]:
    filesystem = fsspec.filesystem("memory")
    for name in ("/sales/b.csv", "/sales/a.csv", "/sales/notes.txt"):
        filesystem.pipe_file(name, TEXT)
    yield filesystem
    filesystem.rm("/sales", recursive=True)


def names(files: list[SourceFile]) -> list[str]:
    return [Path(file.uri).name for file in files]


def only(path: Path) -> SourceFile:
    (file,) = find_sources([str(path)], [])
    return file


def test_a_directory_is_searched_with_the_mappings_globs(folder: Path) -> None:
    assert names(find_sources([str(folder)], GLOBS)) == ["a.csv", "b.csv", "c.csv"]


def test_a_program_names_sources_as_texts_or_paths(folder: Path) -> None:
    given: list[str | Path] = [folder / "b.csv", str(folder / "a.csv")]
    assert names(find_sources(named_sources(iter(given)), [])) == ["a.csv", "b.csv"]


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (
            "exports/",
            r"the sources are one name \(exports/\), expected a list of names. Write \['exports/'\]",
        ),
        (Path("a.csv"), r"the sources are one name \(a.csv\)"),
        ([b"a.csv"], r"b'a.csv' cannot be a source"),
        ([Path("s3://shop/in")], "s3:/shop/in is the address of an object store in a Path"),
    ],
)
def test_what_a_program_cannot_name_as_sources_is_reported(sources: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        named_sources(sources)


def test_endings_match_in_any_letter_case_and_the_rest_of_a_name_does_not(tmp_path: Path) -> None:
    for name in ("pos_a.csv", "pos_B.CSV", "pos_c.Csv.GZ", "POS_d.csv", "pos_e.PARQUET", "pos_f.csv.bak"):
        (tmp_path / name).write_bytes(TEXT)
    found = find_sources([str(tmp_path)], ["pos_*.csv", "pos_*.csv.gz", "*.parquet"])
    assert names(found) == ["pos_B.CSV", "pos_a.csv", "pos_c.Csv.GZ", "pos_e.PARQUET"]


def test_files_come_sorted_and_once_however_they_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "link.csv").symlink_to(folder / "a.csv")
    files = find_sources(["b.csv", "*.csv", "./b.csv", str(folder / "b.csv"), "nested/**"], [])
    assert names(files) == ["a.csv", "b.csv", "c.csv"]


def test_a_source_file_tells_size_and_time(folder: Path) -> None:
    os.utime(folder / "a.csv", (0, 86_400))
    file = only(folder / "a.csv")
    assert (file.size, file.modified and file.modified.isoformat()) == (16, "1970-01-02T00:00:00+00:00")


def test_a_name_with_glob_characters_is_taken_as_it_is(folder: Path) -> None:
    (folder / "sales [1].csv").write_bytes(TEXT)
    assert names(find_sources([str(folder / "sales [1].csv")], [])) == ["sales [1].csv"]


def test_a_directory_with_glob_characters_is_searched(folder: Path) -> None:
    (folder / "nested").rename(folder / "nested [1]")
    assert names(find_sources([str(folder / "nested [1]")], ["*.csv"])) == ["c.csv"]


def test_globs_follow_links_and_pass_over_those_that_lead_nowhere(folder: Path) -> None:
    (folder / "linked").symlink_to(folder / "nested")
    (folder / "broken.csv").symlink_to(folder / "gone")
    os.utime(folder / "a.csv", (0, 86_400))
    (folder / "z.csv").symlink_to(folder / "a.csv")
    files = find_sources(
        [str(folder / "[z]*.csv"), str(folder / "b*.csv"), str(folder / "linked*" / "*")], []
    )
    assert names(files) == ["b.csv", "c.csv", "z.csv"]
    assert files[-1].modified == datetime(1970, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no source"),
        (["{}/none.csv"], "none.csv does not exist"),
        (["{}/none*.csv"], "no file matches .*none"),
        (["{}/empty.csv"], "empty.csv is empty"),
        (["{}/nested", "{}/a.csv"], "nested is a directory beside other sources"),
        (["{}/bare"], r"bare has no matching file; looked for: \*.csv, nested/\*.csv"),
    ],
)
def test_what_cannot_be_a_source_is_reported(folder: Path, arguments: list[str], message: str) -> None:
    (folder / "empty.csv").touch()
    (folder / "bare").mkdir()
    with pytest.raises(SourceError, match=message):
        find_sources([argument.format(folder) for argument in arguments], GLOBS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_reported(folder: Path) -> None:
    (folder / "a.csv").chmod(0)
    with pytest.raises(SourceError, match=r"a\.csv cannot be read: Permission denied"):
        only(folder / "a.csv")


def zipped(path: Path, *members: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            archive.writestr(member, TEXT)


def test_compression_goes_by_content_not_by_suffix(tmp_path: Path) -> None:
    zstd = pa.BufferOutputStream()
    with pa.CompressedOutputStream(zstd, "zstd") as stream:
        stream.write(TEXT)
    contents = {
        "plain.csv.gz": TEXT,
        "gzip.csv": gzip.compress(TEXT),
        "two.gz": gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:]),
        "bzip2": bz2.compress(TEXT),
        "zstd": zstd.getvalue().to_pybytes(),
        "skippable": b"\x50\x2a\x4d\x18\4\0\0\0size" + zstd.getvalue().to_pybytes(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    zipped(tmp_path / "zip.csv", "sales.csv", "__MACOSX/sales.csv")
    for path in tmp_path.iterdir():
        with open_text(only(path)) as stream:
            assert stream.read() == TEXT, path.name


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (["a.csv", "b.csv"], "zip archive of 2 files, expected one: a.csv, b.csv"),
        ([], "zip archive of 0 files"),
        (["[Content_Types].xml", "xl/workbook.xml"], "is a document or spreadsheet"),
    ],
)
def test_an_archive_must_hold_one_file(tmp_path: Path, members: list[str], message: str) -> None:
    zipped(tmp_path / "sales.zip", *members)
    with pytest.raises(SourceError, match=message):
        open_text(only(tmp_path / "sales.zip"))


def opened(path: Path) -> Reader:
    return open_reader(only(path), Dialect())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "is a picture"),
        (b"\xd0\xcf\x11\xe0" + bytes(20), "is an old Excel"),
        (b"a,b\n1,\x00\x01\x02", "is a binary file"),
        (b"PK\x03\x04 not really", "cut short or damaged"),
        (b"PAR1 not really", "cannot be read as Parquet"),
        (gzip.compress(TEXT * 999, mtime=0)[:-20], "cut short or damaged"),
        (b"\n\n  \n", "has no row with column names"),
    ],
)
def test_a_file_that_is_no_table_is_reported(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "sales.csv"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        list(opened(path).batches())


def test_a_csv_file_is_opened_once_to_look_at_it_and_read_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, opens = only(folder / "a.csv"), []
    real = source_files.open_raw
    for module in (source_files, readers):
        monkeypatch.setattr(module, "open_raw", lambda file, **how: opens.append(file) or real(file, **how))
    list(open_reader(file, Dialect()).batches())
    assert opens == [file]


def test_a_fingerprint_goes_by_content(tmp_path: Path) -> None:
    for name, content in (("a", TEXT), ("renamed", TEXT), ("other", TEXT.replace(b"2.50", b"2.60"))):
        (tmp_path / name).write_bytes(content)
    first, renamed, other = (fingerprint(only(tmp_path / name)) for name in ("a", "renamed", "other"))
    assert first == renamed != other
    assert first.startswith("16-")


def test_object_stores_are_searched_and_read(bucket: fsspec.AbstractFileSystem) -> None:
    files = find_sources(["memory://sales"], GLOBS)
    assert [(file.uri, file.size) for file in files] == [
        ("memory://sales/a.csv", 16),
        ("memory://sales/b.csv", 16),
    ]
    again = find_sources(["memory://sales/*.csv", "memory://sales/a.csv"], [])
    assert [(file.uri, file.found) for file in again] == [(files[0].uri, False), (files[1].uri, True)]
    (batch,) = open_reader(files[0], Dialect()).batches()
    assert batch.rows.rows() == [("1", "2.50", 2)]
    assert fingerprint(files[0]) == fingerprint(files[1])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("memory://sales/none*.csv", "no file matches"),
        ("memory://nowhere", "does not exist"),
        *(
            (f"{scheme}://a/b.csv", "neither a local path nor")
            for scheme in ("http", "ftp", "file", "nosuch")
        ),
        ("", "an empty text"),
    ],
)
def test_what_is_not_in_the_store_is_reported(
    bucket: fsspec.AbstractFileSystem, argument: str, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        find_sources([argument], GLOBS)


def test_a_missing_extra_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(SourceError, match=r"pip install 'omneo-import\[s3\]'"):
        find_sources(["s3://bucket/sales.csv"], [])


def test_what_excel_keeps_beside_an_open_workbook_is_not_found(tmp_path: Path) -> None:
    for name in ("sales.xlsx", "~$sales.xlsx"):
        (tmp_path / name).write_bytes(b"x")
    assert [Path(file.uri).name for file in find_sources([str(tmp_path)], ["*.xlsx"])] == ["sales.xlsx"]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl"])
def test_reading_all_rows_gives_the_fingerprint_too(tmp_path: Path, name: str) -> None:
    text = b'{"a": 1}\n' if name == "a.jsonl" else b"a,b\n1,2\n"
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    file = only(tmp_path / name)
    reader = open_reader(file, Dialect())
    list(reader.batches())
    assert reader.fingerprint == fingerprint(file)
