"""What a file is, by its bytes: its encoding, or a kind of file that is no table."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import SourceError
from pipeline.core.model import Dialect
from pipeline.extract import find_sources, open_reader
from pipeline.extract.encodings import sniff_encoding
from pipeline.extract.sniff import sniff

TEXT = "id,name,total\n1,{},2.50\n2,plain,3.00\n"


def opened(path: Path, content: bytes, encoding: str = "utf-8") -> list[str]:
    path.write_bytes(content)
    return open_reader(find_sources([str(path)], [])[0], Dialect(encoding=encoding)).columns


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("Zoë Müller, Straße", "cp1252"),
        ("crème brûlée, été, Noël", "cp1252"),
        ("piñata, año, já não", "cp1252"),
        ("smørrebrød på, Ærø", "cp1252"),
        ("Łódź, żółć, źdźbło", "cp1250"),
        ("コーヒー、紅茶の店", "cp932"),
        ("Ёлка", "utf-8"),
        ("Zoë", "utf-16-le"),
        ("Zoë", "utf-16-be"),
        ("Zoë", "utf-32-le"),
        ("Zoë", "utf-32-be"),
    ],
)
def test_an_encoding_is_known_by_its_letters(name: str, encoding: str, tmp_path: Path):
    content = TEXT.format(f'"{name}"').encode(encoding)
    assert sniff_encoding(content, whole=True)[0] == encoding
    assert sniff_encoding(content[:-1], whole=False)[0] == encoding
    columns = ["id", "name", "total"]
    assert opened(tmp_path / "a.csv", content, encoding) == columns
    assert sniff(find_sources([str(tmp_path / "a.csv")], [])[0]).sample["name"][0] == name
    if encoding != "utf-8":
        with pytest.raises(SourceError, match=rf"source: {{csv: {{encoding: {encoding}}}}}"):
            list(open_reader(find_sources([str(tmp_path / "a.csv")], [])[0], Dialect()).batches())


@given(st.text(st.sampled_from("abtsáàâäãåæçéèêëíìîïñóòôöõøúùûüýß ,"), min_size=1))
def test_words_of_western_languages_are_taken_for_no_others(text: str):
    assert sniff_encoding(text.encode("cp1252"), whole=True)[0] in ("cp1252", "utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n<!DOCTYPE html>\n<html></html>\n", r"is a web page \(HTML\).*login page"),
        (b"<table><tr><td>id</td></tr></table>", r"is a web page \(HTML\).*save it as .xlsx"),
        (b'\xef\xbb\xbf<?xml version="1.0"?><Workbook/>', "is an XML file.*Excel"),
        (b'[{"id": 1},\n{"id": 2}]\n', r"is one JSON document.*jq -c '\.\[\]'"),
        (b"[\n]\n", "is one JSON document"),
        (b'{\n  "orders": [\n {"id": 1}\n]}\n', r"is one JSON document.*jq -c '\.orders\[\]'"),
        (
            b'{\n "tags": ["a"], "answer": {"all sales": [{"id": 1}]}}\n',
            r"jq -c '\.answer\.\"all sales\"\[\]'",
        ),
        (b"{\\rtf1 id}", "is a text document"),
        (b"%PDF-1.7", "is a PDF"),
        (b"id,\0\1\2\xff", "is a binary file"),
    ],
)
def test_files_of_other_kinds_say_what_they_are(content: bytes, message: str, tmp_path: Path):
    with pytest.raises(SourceError, match=message):
        opened(tmp_path / "a.csv", content)
    with pytest.raises(SourceError, match=message):
        sniff(find_sources([str(tmp_path / "a.csv")], [])[0])


@pytest.mark.parametrize("first", ["[id],total", "<id>,total", '"{x}",total', "{,total"])
def test_a_header_may_begin_with_any_sign(first: str, tmp_path: Path):
    assert len(opened(tmp_path / "a.csv", f"x,{first}\n1,2,3\n".encode())) == 3
    if not first.startswith("{"):  # that is JSON lines
        assert len(opened(tmp_path / "b.csv", f"{first}\n1,2\n".encode())) == 2
