"""Slips that people make in their first mappings, each with the one line that they are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import MappingError
from pipeline.mapping.compile.check import check_mapping
from pipeline.mapping.language.mapping_file import read_mapping

RIGHT = """\
mapping: shop
source:
  key: [store, receipt]
columns: {pieces: integer, price: decimal}
define:
  id: {template: "{store}-{receipt}"}
transaction:
  external_id: id
  total: total
  transacted_at:
    column: sold
    then: [{datetime: {formats: ["%d/%m/%Y %H:%M"], timezone: {constant: Europe/London}}}]
  location_id: store
completion:
  status: status
  complete: [PAID]
profile:
  - {value: email, handle: email}
payments:
  - tender: tender
items:
  external_id: {template: "{id}-{line}"}
  name: title
  quantity: pieces
  price_current: price
  price_sell: price
"""
COLUMNS = [
    "store",
    "receipt",
    "total",
    "sold",
    "status",
    "email",
    "tender",
    "line",
    "title",
    "pieces",
    "price",
]


def errors_of(old: str = "", new: str = "") -> list[str]:
    assert old in RIGHT
    text = RIGHT.replace(old, new, 1) if old else RIGHT
    try:
        problems = check_mapping(read_mapping(Path("m.yaml"), text.encode()), {"lines": COLUMNS})
    except MappingError as error:
        problems = list(error.problems)
    return [f"{p.line}:{p.column}: {p.message}" for p in problems]


def test_the_right_one_is_right() -> None:
    assert errors_of() == []


NO_COLUMN = "there is no column '{}' in the source"
INDENT = (
    "this does not belong to the lines before it: indent it as they are, write `key: value`, and put a text "
    'that holds { } [ ] : or # in quotes, as in "{store}-{number}"'
)
UNCLOSED = (
    "the { that is opened here is not closed, or a comma is missing in it; a text that holds { or } stands "
    'in quotes, as in "{store}-{number}"'
)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        pytest.param(
            "completion:",
            "compleation:",
            "14:1: 'compleation' is not known in the mapping; did you mean 'completion'?",
            id="typo in a section",
        ),
        pytest.param(
            "location_id:",
            "locaton_id:",
            "13:3: 'locaton_id' is not a field of a transaction; did you mean 'location_id'?",
            id="typo in a field",
        ),
        pytest.param(
            "{datetime: {",
            "{date: {",
            "12:12: 'date' is not a step; did you mean 'datetime'?",
            id="step of another tool",
        ),
        pytest.param(
            "name: title",
            "name: {concat: [title, line]}",
            "23:9: 'concat' does not make a value; did you mean 'template'?",
            id="value of another tool",
        ),
        pytest.param(
            "  total: total",
            "\ttotal: total",
            "9:1: there is a tab here; YAML is indented with blanks only",
            id="tab",
        ),
        pytest.param(
            "  location_id",
            "\u00a0\u00a0location_id",
            "13:1: there is a no-break space or the like beside 'location_id'; indent with plain blanks",
            id="no-break spaces",
        ),
        pytest.param("  location_id", "   location_id", f"13:4: {INDENT}", id="one blank too many"),
        pytest.param(
            "total: total",
            "total total",
            "10:3: a key needs a colon and a blank after it, as in `total: sale_total`",
            id="colon forgotten",
        ),
        pytest.param(
            "  location_id: store",
            "  location_id: store\n  location_id: line",
            "14:3: 'location_id' is there twice, first in line 13; only one can count",
            id="key there twice",
        ),
        pytest.param(
            "total: total",
            "total: totel",
            f"9:10: {NO_COLUMN.format('totel')}; did you mean 'total'?",
            id="column that is not there",
        ),
        pytest.param(
            "name: title",
            "name: titl\u0435",
            "23:9: there is no column 'titl\u0435' in the source; did you mean 'title'? The name as "
            "written contains \u0435 (Cyrillic small letter ie)",
            id="look-alike letter",
        ),
        pytest.param(
            "location_id: store",
            "currency: AUD",
            f"13:13: {NO_COLUMN.format('AUD')}; write {{constant: AUD}} for what is the same on every row",
            id="constant written bare",
        ),
        pytest.param(
            "pieces\n  price_current",
            "1\n  price_current",
            '24:13: a bare 1 is not a column; write {constant: 1} for a fixed value, or "1" in quotes for a '
            "column of that name",
            id="number written bare",
        ),
        pytest.param(
            "total: total",
            "total: *",
            "9:11: a text that begins with * or & stands in quotes",
            id="star",
        ),
        pytest.param(
            "total: total",
            'total: "*"',
            "9:11: a column '*' is read as 'column*'; write that",
            id="star in quotes",
        ),
        pytest.param(
            "name: title",
            "name: ^ti.*$",
            "23:9: a column '^ti.*$' is read as 'column^ti.*$'; write that",
            id="pattern for a column",
        ),
        pytest.param(
            "name: title",
            "name: __title",
            "23:9: a column '__title' is read as 'column__title'; write that",
            id="two underscores",
        ),
        pytest.param(
            "  id: {template",
            '  "*": {constant: a}\n  id: {template',
            "6:8: '*' cannot be defined; give it a name that begins with a letter",
            id="star defined",
        ),
        pytest.param(
            '"{id}-{line}"',
            "{id}-{line}",
            f"22:16: {UNCLOSED}",
            id="template without quotes",
        ),
        pytest.param(
            "total: total",
            'total: {sql: "SUM(pieces * price"}',
            "9:30: the formula 'SUM(pieces * price' is not SQL that can be used: Expecting ) at 'price'; "
            "every ( needs its )",
            id="bracket left open in SQL",
        ),
        pytest.param(
            "complete: [PAID]",
            'complete: {sql: "status = \\"PAID\\""}',
            f"16:31: {NO_COLUMN.format('PAID')}; a text stands in single quotes: 'PAID'",
            id="text in double quotes in SQL",
        ),
        pytest.param(
            "name: title",
            'name: {column: title, then: [{replace: {pattern: "(abc"}}]}',
            "23:52: this is not a regular expression in Rust's syntax: unclosed group",
            id="broken pattern",
        ),
        pytest.param(
            "key: [store, receipt]", "key: receipt", "3:8: a list was expected; write [receipt]", id="no list"
        ),
        pytest.param(
            "name: title",
            "name: {column: title, then: trim}",
            "23:31: a list was expected; write [trim]",
            id="step without a list",
        ),
        pytest.param(
            "name: title",
            "name: {column: title, upper: true}",
            "23:25: `upper` is a step; steps stand in `then`, as in then: [upper]",
            id="step outside of then",
        ),
        pytest.param(
            "{value: email, handle: email}",
            "email",
            "18:5: `profile` was expected to hold names and values, not 'email'; write {value: email}",
            id="profile as a bare column",
        ),
        pytest.param(
            "profile:",
            "reward: Redeemed points\nprofile:",
            "17:9: `reward` was expected to hold names and values, not 'Redeemed points'; "
            "write {amount: Redeemed points}",
            id="reward as a bare column",
        ),
        pytest.param(
            "location_id: store",
            "meta: {note: title}",
            "13:9: `meta` holds names and values; write {object: {note: ...}}",
            id="meta without object",
        ),
        pytest.param(
            "name: title",
            "name: {column: title, then: [{pad: {width: 4, fill: '00'}}]}",
            "23:55: one character was expected, not '00'",
            id="two characters for one",
        ),
        pytest.param(
            "tender: tender",
            "tender",
            "20:5: `payments` was expected to hold names and values, not 'tender'; write {tender: tender}",
            id="tender as a bare column",
        ),
        pytest.param(
            "%d/%m/%Y %H:%M",
            "dd/MM/yyyy HH:mm",
            "12:34: 'dd/MM/yyyy HH:mm' is not a date format; write one as %d/%m/%Y %H:%M:%S, or iso",
            id="date format of another tool",
        ),
        pytest.param(
            "{constant: Europe/London}",
            "Europe/London",
            "12:63: 'Europe/London' would be a column; write {constant: Europe/London}",
            id="zone written bare",
        ),
        pytest.param(
            "location_id: store",
            "location_id: {lookup: shops, key: store, value: id}\nlookups: {shops: {file: ../s, key: [id]}}",
            "14:25: '../s' is not under the mapping's own directory; put the table beside it",
            id="look-up outside of the directory",
        ),
        pytest.param(
            "  total: total",
            "  total: SUM(price)",
            "9:10: there is no column 'SUM(price)' in the source; a formula is no column: write {sum: price}",
            id="function written bare",
        ),
        pytest.param(
            "price_sell: price",
            "price_sell: pieces * price",
            "26:15: there is no column 'pieces * price' in the source; a formula is no column: write "
            '{sql: "pieces * price"}',
            id="formula written bare",
        ),
        pytest.param(
            "price_sell",
            "price",
            "26:3: 'price' is not a field of an item; did you mean 'price_sell'?",
            id="field of another system",
        ),
        pytest.param(
            "Europe/London}",
            "AEST}",
            "12:74: 'AEST' does not say when clocks change; write the zone with its city, as Europe/London",
            id="zone as an abbreviation",
        ),
        pytest.param(
            '"%d/%m/%Y %H:%M"',
            "\u201c%d/%m/%Y %H:%M\u201d",
            "12:34: \u201c is no quote of YAML; write \" or ' around the text",
            id="quotes of a word processor",
        ),
        pytest.param(
            "[store, receipt]",
            "[store, receipt]\n  csv: {delimiter: semicolon}",
            "4:20: 'semicolon' is a word; write the delimiter itself: \";\"",
            id="delimiter as a word",
        ),
        pytest.param(
            "profile:",
            "checks: {guest: false}\nprofile:",
            "17:17: false is not one of reject, warn, off; did you mean 'off'?",
            id="a check that is false",
        ),
        pytest.param(
            "columns: {pieces",
            'columns: {title: {split: {by: " ", into: a}}, pieces',
            "4:42: a list was expected; write [a]",
            id="split",
        ),
    ],
)
def test_a_slip_is_reported_in_one_line_that_says_how_to_mend_it(old: str, new: str, line: str) -> None:
    assert errors_of(old, new) == [line]


@pytest.mark.parametrize("word", ["EURO", "eur", "$"])
def test_a_constant_currency_has_three_capital_letters(word: str) -> None:
    (message,) = errors_of("  location_id:", f"  currency: {{constant: {word}}}\n  location_id:")
    assert f"'{word}' is not a currency; its three capital letters were expected, as in EUR" in message
    assert errors_of("  location_id:", "  currency: {constant: EUR}\n  location_id:") == []


def test_what_an_abbreviation_means_has_to_be_chosen_and_the_line_to_paste_is_shown() -> None:
    (message,) = errors_of("%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M %Z")
    assert "`abbreviations: {EST: -05:00, CST: -06:00}`" in message
    assert "EST is -05:00 (New York), +10:00 (Sydney)" in message
    pasted = 'formats: ["%d/%m/%Y %H:%M %Z"], abbreviations: {EST: -05:00, CST: -06:00}'
    assert errors_of('formats: ["%d/%m/%Y %H:%M"]', pasted) == []
    assert errors_of('formats: ["%d/%m/%Y %H:%M"]', 'formats: ["%d/%m/%Y %H:%M %Z"], abbreviations: {}') == []
    (message,) = errors_of("timezone: {constant", "abbreviations: {EST: -05:00}, timezone: {constant")
    assert "no format reads abbreviations" in message
    (message,) = errors_of(
        'formats: ["%d/%m/%Y %H:%M"]', 'formats: ["%d/%m/%Y %Z"], abbreviations: {EST: -5}'
    )
    assert "'-5' is not an offset from UTC, as in EST: -05:00" in message
