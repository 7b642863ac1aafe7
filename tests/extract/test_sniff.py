"""What is found out about files that nobody described."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipeline.core.errors import SourceError
from pipeline.core.model import Dialect
from pipeline.extract import find_sources
from pipeline.extract.encodings import sniff_encoding
from pipeline.extract.sniff import Sniffed, sniff

ROWS = "id;name;total\n1;Müller, Hans;2,50\n2;Çelik;3,00\n"


def sniffed(tmp_path: Path, content: bytes) -> Sniffed:
    path = tmp_path / "sales"
    path.write_bytes(content)
    return sniff(find_sources([str(path)], [])[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ROWS, Dialect(delimiter=";")),
        ("a\tb\n1\t2\n", Dialect(delimiter="\t")),
        ("a|b,c\n1|2\n3|4\n", Dialect(delimiter="|")),
        ("Sales report\nShop, Main St\n\nid,when,total\n1,2020,5\n2,2021,6\n",
         Dialect(delimiter=",", skip_lines=3)),
        ("# made by till 4\nid,total\n1,5\n", Dialect(delimiter=",", comment="#", skip_lines=1)),
        ("1,2020-01-02,9.50\n2,2020-01-03,8.00\n", Dialect(delimiter=",", header=False)),
        ("'a','b'\n'1','x, y'\n'2','z'\n", Dialect(delimiter=",", quote="'")),
        ('a,b\n1,"5\\" pipe"\n2,"x"\n', Dialect(delimiter=",", escape="\\")),
        ('a,b\n1,"C:\\sales\\"\n2,"x ""y"""\n', Dialect(delimiter=",")),
        ("only\n1\n2\n", Dialect(delimiter=",")),
    ],
)  # fmt: skip
def test_the_dialect_is_found(tmp_path: Path, text: str, expected: Dialect) -> None:
    assert sniffed(tmp_path, text.encode()).dialect == expected


@pytest.mark.parametrize(
    ("encoding", "found", "sure"),
    [
        ("utf-8", "utf-8", 1.0),
        ("utf-8-sig", "utf-8", 1.0),
        ("utf-16", "utf-16-le", 1.0),
        ("utf-16-le", "utf-16-le", 0.9),
        ("utf-16-be", "utf-16-be", 0.9),
        ("cp1252", "cp1252", 0.6),
    ],
)
def test_the_encoding_is_found(tmp_path: Path, encoding: str, found: str, sure: float) -> None:
    result = sniffed(tmp_path, ROWS.encode(encoding))
    assert (result.dialect.encoding, result.encoding_confidence) == (found, sure)
    assert result.sample["name"].to_list() == ["Müller, Hans", "Çelik"]


def test_a_start_of_ascii_alone_is_no_proof() -> None:
    assert sniff_encoding(b"a,b", whole=False) == ("utf-8", 0.9)
    assert sniff_encoding("aé".encode()[:2], whole=False) == ("utf-8", 1.0)
    assert sniff_encoding(b"\x81\x8d", whole=True) == ("latin-1", 0.3)


def test_format_columns_and_sample(tmp_path: Path) -> None:
    result = sniffed(tmp_path, gzip.compress(ROWS.encode()))
    assert (result.format, result.columns) == ("csv", ["id", "name", "total"])
    assert result.sample.rows()[0] == ("1", "Müller, Hans", "2,50", 2)
    assert sniffed(tmp_path, b'{"a": 1}').format == "jsonl"


def test_a_binary_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"is a PDF, expected CSV"):
        sniffed(tmp_path, b"%PDF-1.7 ...")
