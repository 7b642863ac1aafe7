"""Layouts: which rows make a transaction, its lines and its payments, and what is odd about them."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.model import KEY, LINE, LOST, SOURCE, TX, Lost
from pipeline.core.storage.partition_frames import RawTransactions
from pipeline.mapping.layout.raw_transactions import build_transactions, without_lost
from pipeline.mapping.layout.row_keys import carry_down, key_hash
from tests.mapping.mapping_cases import keyed, problem_rows, raw_rows, shaped_of, spec_of, tables_of

LINES = """
source: {layout: lines, key: [store, no]}
transaction: {external_id: no, total: total}
items: {name: name, quantity: qty}
"""


def headers(shaped: RawTransactions, *columns: str) -> list[tuple[object, ...]]:
    return shaped.headers.select(columns).rows()


def test_lines_become_transactions_in_the_order_of_the_file() -> None:
    shaped = shaped_of(
        LINES,
        """
        store,no,total,name,qty
        A,1,10,Shirt,1
        A,1,10,Cap,2
        B,1,7,Sock,1
        A,2,8,Tie,1
        """,
    )
    assert headers(shaped, TX, LINE, "no", "total") == [(0, 2, "1", "10"), (1, 4, "1", "7"), (2, 5, "2", "8")]
    assert shaped.lines.select(TX, LINE, "name").rows() == [
        (0, 2, "Shirt"),
        (0, 3, "Cap"),
        (1, 4, "Sock"),
        (2, 5, "Tie"),
    ]
    assert shaped.problems.is_empty()


def test_rows_of_a_transaction_that_lie_apart_are_brought_together() -> None:
    shaped = shaped_of(
        LINES,
        """
        store,no,total,name,qty
        A,1,10,Shirt,1
        B,1,7,Sock,1
        A,1,10,Cap,2
        """,
    )
    assert headers(shaped, TX, LINE) == [(0, 2), (1, 3)]
    assert shaped.lines.select(TX, LINE).rows() == [(0, 2), (0, 4), (1, 3)]


def test_rows_that_lie_apart_are_brought_together_beside_one_without_a_key() -> None:
    shaped = shaped_of(LINES, "store,no,total,name,qty\nA,1,,a,1\nA,2,,b,1\nA,1,,c,1\nA,2,,d,1\n,,,e,1\n")
    assert shaped.lines.select(TX, "name").rows() == [(0, "a"), (0, "c"), (1, "b"), (1, "d"), (2, "e")]


def test_source_order_is_by_file_and_line_however_rows_arrive() -> None:
    spec = spec_of(LINES)
    text = "store,no,total,name,qty\nA,{no},1,x{no},1\n"
    rows = pl.concat([raw_rows(text.format(no=no), source=no) for no in (2, 0, 1)])
    shaped = build_transactions({"lines": keyed(rows, spec)}, spec)
    assert shaped.headers[SOURCE].to_list() == [0, 1, 2]


@pytest.mark.parametrize("nulls", ["[]", "[NULL]"])
def test_a_blank_key_makes_a_transaction_of_its_own(nulls: str) -> None:
    blank = "NULL" if "NULL" in nulls else "  "
    shaped = shaped_of(
        LINES.replace("key: [store, no]", f"key: [store, no], nulls: {nulls}"),
        f"""
        store,no,total,name,qty
        A,1,10,Shirt,1
        A,{blank},10,Cap,2
        A,,10,Sock,2
        A,1,10,Tie,1
        """,
    )
    assert headers(shaped, TX, LINE) == [(0, 2), (1, 3), (2, 4)]
    assert problem_rows(shaped.problems) == [("key_missing", 3), ("key_missing", 4)]
    assert "`store`, `no`" in shaped.problems["message"][0]


def test_keys_are_compared_without_outer_blanks() -> None:
    shaped = shaped_of(LINES, "store,no,total,name,qty\nA,1,10,Shirt,1\nA , 1,10,Cap,1\n")
    assert shaped.headers.height == 1


def test_cells_of_a_key_do_not_run_together() -> None:
    shaped = shaped_of(LINES, "store,no,total,name,qty\nA1,1,10,Shirt,1\nA,11,10,Cap,1\n")
    assert shaped.headers.height == 2


# ── Duplicates ──────────────────────────────────────────────────────────────────────────────────────

TWICE = """
store,no,total,name,qty
A,1,10,Shirt,1
A,1,10,Shirt,2
A,1,10,Shirt,1
B,1,10,Shirt,1
"""


def test_a_row_alike_in_every_cell_counts_once() -> None:
    shaped = shaped_of(LINES, TWICE)
    assert shaped.duplicates.height == 1
    assert shaped.lines[LINE].to_list() == [2, 3, 5]
    assert problem_rows(shaped.problems, "code", LINE, TX) == [("duplicate_row", 4, 0)]


def test_duplicates_are_found_across_files() -> None:
    spec = spec_of(LINES)
    text = "store,no,total,name,qty\nA,1,10,Shirt,1\n"
    rows = pl.concat([raw_rows(text, 0), raw_rows(text, 1)])
    shaped = build_transactions({"lines": keyed(rows, spec)}, spec)
    assert shaped.duplicates.height == 1
    assert shaped.problems.select(SOURCE, LINE).rows() == [(1, 2)]


def test_repeats_that_are_real_are_kept_where_the_mapping_says_so() -> None:
    shaped = shaped_of(LINES.replace("key:", "duplicates: keep, key:"), TWICE)
    assert (shaped.duplicates.height, shaped.lines.height) == (0, 4)
    assert shaped.problems.is_empty()


def test_a_difference_in_a_column_that_is_not_mapped_makes_no_duplicate() -> None:
    shaped = shaped_of(LINES, "store,no,total,name,qty,note\nA,1,10,Shirt,1,a\nA,1,10,Shirt,1,\n")
    assert shaped.duplicates.height == 0


def test_a_row_without_a_key_repeats_nobody() -> None:
    shaped = shaped_of(LINES, "store,no,total,name,qty\nA,,10,Shirt,1\nA,,10,Shirt,1\n")
    assert (shaped.duplicates.height, shaped.headers.height) == (0, 2)


# ── Conflicts ───────────────────────────────────────────────────────────────────────────────────────


def test_rows_that_disagree_are_reported_with_the_column_and_both_cells() -> None:
    shaped = shaped_of(
        LINES,
        """
        store,no,total,name,qty
        A,1,10,Shirt,1
        A,1,10,Cap,1
        A,1,11,Sock,1
        A,1,12,Tie,1
        A,2,11,Tie,1
        """,
    )
    assert problem_rows(shaped.problems, "code", "field", "value", LINE, "message") == [
        ("header_conflict", "total", "11", 4, "`total` is 10 on line 2 and 11 here.")
    ]


def test_a_row_that_agrees_with_another_sale_may_still_disagree_with_its_own() -> None:
    shaped = shaped_of(
        LINES,
        """
        store,no,total,name,qty
        A,1,10,Shirt,1
        A,2,11,Cap,1
        A,2,10,Tie,1
        """,
    )
    assert problem_rows(shaped.problems, "code", "field", "value", LINE) == [
        ("header_conflict", "total", "10", 4)
    ]


def test_a_conflict_with_a_blank_cell_and_none_with_outer_blanks() -> None:
    shaped = shaped_of(
        LINES,
        "store,no,total,name,qty\nA,1,10,Shirt,1\nA,1,,Cap,1\nA,2,10,Shirt,1\nA,2,10 ,Cap,1\n",
    )
    assert problem_rows(shaped.problems, "value", "message") == [
        (
            None,
            "`total` is 10 on line 2 and blank here. If only the first row of a sale has it, "
            "write `layout: first_row`.",
        )
    ]


def test_in_lines_the_cell_of_the_first_row_counts_though_it_is_blank() -> None:
    shaped = shaped_of(LINES, "store,no,total,name,qty\nA,1,,Shirt,1\nA,1,10,Cap,1\n")
    assert headers(shaped, "no", "total") == [("1", None)]
    assert problem_rows(shaped.problems) == [("header_conflict", 3)]


def test_columns_that_only_lines_use_may_differ() -> None:
    spec = LINES.replace("total: total", "total: {sum: total}, transacted_at: {min: at}")
    shaped = shaped_of(spec, "store,no,total,name,qty,at\nA,1,10,Shirt,1,9:00\nA,1,11,Cap,1,9:01\n")
    assert shaped.problems.is_empty()


def test_conflicts_are_seen_through_definitions_and_conditions() -> None:
    spec = """
    source: {layout: lines, key: [no]}
    define: {id: {template: "{no}/{year}"}}
    transaction: {external_id: id}
    completion: {void: {sql: "voided = 'y'"}}
    payments: [{tender: card, amount: card_amount}]
    items: {name: name}
    """
    text = "no,year,voided,card,card_amount,name\n1,20,y,V,1,a\n1,21,n,M,2,b\n"
    (problem,) = shaped_of(spec, text).problems.to_dicts()
    assert problem["message"] == (
        "`year` is 20 on line 2 and 21 here. These differ too: `voided`, `card`, `card_amount`."
    )


# ── Header cells on the first row only ──────────────────────────────────────────────────────────────

FIRST_ROW = """
source: {layout: first_row, key: [Name], carry_key: true}
transaction: {external_id: Id, total: Total, currency: Currency}
items: {name: item, quantity: qty}
"""


def test_first_row_takes_header_cells_from_where_they_are() -> None:
    shaped = shaped_of(
        FIRST_ROW,
        """
        Name,Id,Total,Currency,item,qty
        #1,77,10,AUD,Shirt,1
        #1,,,,Cap,2
        ,,,,Sock,2
        #2,78,7,NZD,Tie,1
        #2,,,NZD,Pin,1
        """,
    )
    assert headers(shaped, "Id", "Total", "Currency") == [("77", "10", "AUD"), ("78", "7", "NZD")]
    assert shaped.lines.select(TX, "item").rows() == [
        (0, "Shirt"),
        (0, "Cap"),
        (0, "Sock"),
        (1, "Tie"),
        (1, "Pin"),
    ]
    assert shaped.problems.is_empty()


@pytest.mark.parametrize(("line", "headless"), [(2, [0]), (3, [])])
def test_a_sale_has_no_header_where_its_first_row_could_not_be_read(line: int, headless: list[int]) -> None:
    spec = spec_of(FIRST_ROW)
    tables = tables_of(
        spec, "Name,Id,Total,Currency,item,qty\n#1,77,10,AUD,Shirt,1\n#1,,,,Cap,2\n#1,,,,Sock,2\n"
    )
    unread = pl.when(pl.col(LINE) == line).then(pl.lit(Lost.KEYED, pl.UInt8)).alias(LOST)
    readable, notes = without_lost({name: rows.with_columns(unread) for name, rows in tables.items()})
    shaped = build_transactions(readable, spec, notes)
    assert shaped.headless.to_list() == headless
    assert problem_rows(shaped.problems) == [("row_lost", line)]


def test_first_row_conflicts_only_where_two_cells_say_different_things() -> None:
    shaped = shaped_of(
        FIRST_ROW,
        """
        Name,Id,Total,Currency,item,qty
        #1,77,10,,Shirt,1
        #1,,,AUD,Cap,2
        #1,79,,AUD,Cap,3
        """,
    )
    assert headers(shaped, "Id", "Total", "Currency") == [("77", "10", "AUD")]
    assert problem_rows(shaped.problems, "field", "message") == [("Id", "`Id` is 77 on line 2 and 79 here.")]


# ── Record types in one file ────────────────────────────────────────────────────────────────────────

RECORDS = """
source:
  layout: records
  key: [no]
  records: {column: type, header: [Sale], item: [Sale Line], payment: [Payment]}
transaction: {external_id: no, total: total}
payments: [{tender: what, amount: paid}]
items: {name: what, quantity: qty}
"""
RECORD_ROWS = """
no,type,total,what,qty,paid
1,Sale,10,,,
,Sale Line,10,Shirt,1,
,Payment,,Cash,,10
,Note,,hello,,
2,Sale,7,,,
2,Sale Line,7,Cap,1,
3,Sale,5,,,
"""


@pytest.mark.parametrize("text", [RECORD_ROWS, RECORD_ROWS.replace("\n,", "\n1,")])
def test_records_with_the_key_on_every_row_or_only_on_the_sale(text: str) -> None:
    shaped = shaped_of(RECORDS, text)
    assert headers(shaped, TX, "no", "total") == [(0, "1", "10"), (1, "2", "7"), (2, "3", "5")]
    assert shaped.lines.select(TX, "what").rows() == [(0, "Shirt"), (1, "Cap")]
    assert shaped.payments.select(TX, "what", "paid").rows() == [(0, "Cash", "10")]
    assert shaped.skipped.height == 1
    assert problem_rows(shaped.problems) == [("items_missing", 8)]


def test_records_below_a_sale_without_a_key_do_not_join_the_sale_before() -> None:
    shaped = shaped_of(
        RECORDS, "no,type,total,what,qty,paid\n1,Sale,10,,,\n,Sale Line,,a,1,\n,Sale,7,,,\n,Sale Line,,b,1,\n"
    )
    assert shaped.lines.select(TX, "what").rows() == [(0, "a"), (2, "b")]
    assert sorted(problem_rows(shaped.problems)) == [
        ("items_missing", 4),
        ("key_missing", 4),
        ("key_missing", 5),
    ]


@pytest.mark.parametrize("cut", range(1, 7))
def test_keys_are_carried_across_batches(cut: int) -> None:
    spec, rows = spec_of(RECORDS), raw_rows(RECORD_ROWS)
    whole, _ = carry_down(rows, spec)
    first, state = carry_down(rows[:cut], spec)
    second, _ = carry_down(rows[cut:], spec, state)
    assert pl.concat([first, second]).equals(whole)
    assert whole["no"].to_list() == ["1", "1", "1", "1", "2", "2", "3"]


def test_keys_are_left_alone_where_the_layout_does_not_carry_them() -> None:
    spec, rows = spec_of(LINES), raw_rows("store,no\nA,1\n,2\n")
    carried, state = carry_down(rows, spec)
    assert carried.equals(rows)
    assert state is None


def test_carrying_an_empty_batch_keeps_the_state() -> None:
    spec, rows = spec_of(RECORDS), raw_rows(RECORD_ROWS)
    _, state = carry_down(rows[:2], spec)
    empty, after = carry_down(rows[:0], spec, state)
    assert empty.is_empty()
    assert after == state


# ── Several files ───────────────────────────────────────────────────────────────────────────────────

TABLES = """
source:
  layout: tables
  tables:
    headers: {inputs: [h.csv], key: [id]}
    items: {inputs: [i.csv], key: [order]}
    payments: {inputs: [p.csv], key: [order_id]}
transaction: {external_id: id, total: total}
payments: [{tender: how, amount: amount}]
items: {name: what}
"""


def test_tables_are_joined_on_keys_of_different_names() -> None:
    shaped = shaped_of(
        TABLES,
        {
            "headers": "id,total\n1,10\n2,7\n3,5\n",
            "items": "order,what\n2,Cap\n1,Shirt\n9,Lost\n9,Also lost\n1,Sock\n",
            "payments": "order_id,how,amount\n1,CASH,4\n1,CARD,6\n8,CASH,1\n",
        },
    )
    assert headers(shaped, TX, "id", SOURCE, LINE) == [
        (0, "1", 0, 2),
        (1, "2", 0, 3),
        (2, "3", 0, 4),
        (3, None, 1, 4),
        (4, None, 2, 4),
    ]
    assert shaped.lines.select(TX, "what").rows() == [
        (0, "Shirt"),
        (0, "Sock"),
        (1, "Cap"),
        (3, "Lost"),
        (3, "Also lost"),
    ]
    assert shaped.payments.select(TX, "how").rows() == [(0, "CASH"), (0, "CARD"), (4, "CASH")]
    assert sorted(problem_rows(shaped.problems, "code", TX)) == [
        ("items_missing", 2),
        ("orphan_item", 3),
        ("orphan_item", 4),
    ]


def test_tables_with_a_blank_key_in_the_items() -> None:
    shaped = shaped_of(TABLES, {"headers": "id,total\n1,10\n", "items": "order,what\n1,Cap\n,Lost\n,Issue\n"})
    assert shaped.lines.select(TX, "what").rows() == [(0, "Cap"), (1, "Lost"), (2, "Issue")]
    assert problem_rows(shaped.problems, "code", TX) == [("key_missing", 1), ("key_missing", 2)]


def test_a_bucket_with_items_only_and_one_with_headers_only() -> None:
    items = shaped_of(TABLES, {"items": "order,what\n1,Cap\n"})
    assert headers(items, TX, LINE) == [(0, 2)]
    lone = shaped_of(TABLES, {"headers": "id,total\n1,10\n"})
    assert problem_rows(lone.problems) == [("items_missing", 2)]
    assert lone.lines.is_empty()


def test_tables_without_a_headers_file_take_header_cells_from_the_items() -> None:
    spec = TABLES.replace("    headers: {inputs: [h.csv], key: [id]}\n", "").replace(
        "external_id: id", "external_id: order"
    )
    shaped = shaped_of(
        spec,
        {
            "items": "order,total,what\n1,9,Cap\n1,8,Hat\n",
            "payments": "order_id,how,amount\n1,CASH,4\n7,CASH,1\n",
        },
    )
    assert headers(shaped, TX, "order", "total") == [(0, "1", "9"), (1, None, None)]
    assert problem_rows(shaped.problems, "code", "field") == [
        ("header_conflict", "total"),
        ("orphan_item", None),
    ]
    assert shaped.payments.select(TX, "how").rows() == [(0, "CASH"), (1, "CASH")]


def test_two_header_rows_with_one_key_that_differ() -> None:
    shaped = shaped_of(TABLES, {"headers": "id,total\n1,10\n1,11\n", "items": "order,what\n1,Cap\n"})
    assert shaped.headers.height == 1
    assert problem_rows(shaped.problems) == [("header_conflict", 3)]


def test_a_record_without_a_type_begins_no_sale() -> None:
    spec = spec_of(
        """
        source: {layout: records, key: [no], records: {column: kind, header: [H], item: [L]}}
        transaction: {external_id: no}
        items: {name: name}
        """
    )
    rows = keyed(raw_rows("kind,no,name\nH,A,\n,,Remark\nL,,Cap\nH,,\nL,,Hat\n"), spec)
    assert rows["no"].to_list() == ["A", "A", "A", None, None]


# ── Lists inside a row, and no items at all ─────────────────────────────────────────────────────────

NESTED = """
source: {layout: nested, key: [id], nested: {items: lines, payments: paid}}
transaction: {external_id: id}
payments: [{tender: payments.how, amount: payments.amount}]
items: {name: items.name, quantity: items.qty, sku: items.product.sku}
"""


def test_json_in_a_cell() -> None:
    rows = {
        "id": ["1", "2", "3", None],
        "lines": [
            '[{"name": "Shirt", "qty": 2, "product": {"sku": "S1"}}, {"name": "Cap", "qty": 1.50}]',
            "no list",
            "[]",
            '[{"name": "Keyless"}]',
        ],
        "paid": ['[{"how": "CASH", "amount": 12.10}]', None, "", None],
    }
    spec = spec_of(NESTED)
    table = pl.DataFrame(rows).with_columns(
        pl.lit(0, dtype=pl.UInt32).alias(SOURCE), pl.int_range(1, 5).alias(LINE)
    )
    shaped = build_transactions({"lines": keyed(table, spec)}, spec)
    assert shaped.lines.select(TX, "items.name", "items.qty", "items.product.sku").rows() == [
        (0, "Shirt", "2", "S1"),
        (0, "Cap", "1.5", None),
        (3, "Keyless", None, None),
    ]
    assert shaped.payments.select(TX, "payments.how", "payments.amount").rows() == [(0, "CASH", "12.1")]
    assert sorted(problem_rows(shaped.problems, "code", TX)) == [
        ("field_invalid", 1),
        ("items_missing", 1),
        ("items_missing", 2),
        ("key_missing", 3),
    ]


def test_a_nested_parquet_column() -> None:
    table = pl.DataFrame(
        {
            "id": ["1", "2"],
            "lines": [[{"name": "Shirt", "qty": 2, "product": {"sku": "S1", "x": 1}}], []],
            SOURCE: [0, 0],
            LINE: [1, 2],
        }
    )
    spec = spec_of(NESTED)
    shaped = build_transactions({"lines": keyed(table, spec)}, spec)
    assert shaped.lines.select(TX, "items.name", "items.qty", "items.product.sku").rows() == [
        (0, "Shirt", "2", "S1")
    ]


def test_headers_alone_have_no_items_and_miss_none() -> None:
    spec = "source: {layout: headers, key: [id]}\ntransaction: {external_id: id, total: total}"
    shaped = shaped_of(spec, "id,total\n1,10\n2,11\n")
    assert (shaped.headers.height, shaped.lines.height) == (2, 0)
    assert shaped.problems.is_empty()


@pytest.mark.parametrize("spec", [LINES, FIRST_ROW, RECORDS, TABLES, NESTED])
def test_a_bucket_without_rows(spec: str) -> None:
    shaped = build_transactions({}, spec_of(spec))
    assert (shaped.headers.height, shaped.lines.height, shaped.problems.height) == (0, 0, 0)


# ── Raw rows, and properties ────────────────────────────────────────────────────────────────────────


def test_problems_can_be_shown_with_their_source_row() -> None:
    shaped = shaped_of(LINES, 'store,no,total,name,qty\nA,1,10,"a ""b""",1\nA,1,11,,1\n')
    (raw,) = shaped.with_raw(shaped.problems)["raw"].to_list()
    assert json.loads(raw) == {"store": "A", "no": "1", "total": "11", "name": None, "qty": "1"}
    assert shaped.with_raw(shaped.problems.clear()).is_empty()


def test_key_hash_does_not_care_about_names_of_columns() -> None:
    rows = pl.DataFrame({"a": ["1", "2"], "b": ["x", "y"], "c": ["1", "2"], "d": ["x", "y"]})
    assert key_hash(rows, ["a", "b"]).to_list() == key_hash(rows, ["c", "d"]).to_list()
    assert key_hash(rows, ["a", "b"]).to_list() != key_hash(rows, ["b", "a"]).to_list()


cells = st.sampled_from(["A", "B", " A", "", None])
some_rows = st.lists(st.tuples(st.sampled_from([0, 1]), cells, cells, cells, cells), max_size=30)


@pytest.mark.slow
@given(some_rows, st.sampled_from(["lines", "first_row"]), st.sampled_from(["drop", "keep"]))
def test_no_row_is_lost_or_counted_twice(
    rows: list[tuple[int, str | None, str | None, str | None, str | None]], layout: str, duplicates: str
) -> None:
    spec = spec_of(LINES.replace("layout: lines", f"layout: {layout}, duplicates: {duplicates}"))
    columns = [SOURCE, "store", "no", "total", "name"]
    table = pl.DataFrame(
        rows, schema={name: pl.UInt32 if name == SOURCE else pl.String for name in columns}, orient="row"
    ).with_columns(pl.int_range(pl.len()).alias(LINE))
    shaped = build_transactions({"lines": keyed(table, spec)}, spec)
    places = [*shaped.lines.select(SOURCE, LINE).rows()]
    twice = [*shaped.problems.filter(pl.col("code") == "duplicate_row").select(SOURCE, LINE).rows()]
    assert sorted(places + twice) == sorted(table.select(SOURCE, LINE).rows())
    assert shaped.duplicates.height == len(twice)
    assert shaped.headers[TX].to_list() == list(range(shaped.headers.height))
    assert set(shaped.lines[TX]) == set(shaped.headers[TX])
    assert shaped.lines[TX].is_sorted()
    # One transaction for each key, and one for each row without a key.
    keys = {
        (store.strip(), no.strip())
        for _, store, no, *_ in rows
        if (store or "").strip() and (no or "").strip()
    }
    kept = shaped.lines.filter(
        pl.any_horizontal((pl.col("store", "no").str.strip_chars().fill_null("")) == "")
    ).height
    assert shaped.headers.height == len(keys) + kept


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.sampled_from(["Sale", "Sale Line", "Payment", "Note"]), cells, cells), max_size=25)
)
def test_no_record_is_lost_or_counted_twice(rows: list[tuple[str, str | None, str | None]]) -> None:
    spec = spec_of(RECORDS.replace("key: [no]", "key: [no]\n  duplicates: keep"))
    table = pl.DataFrame(
        rows, schema={"type": pl.String, "no": pl.String, "what": pl.String}, orient="row"
    ).with_columns(pl.lit(0, dtype=pl.UInt32).alias(SOURCE), pl.int_range(pl.len()).alias(LINE))
    shaped = build_transactions({"lines": keyed(table, spec)}, spec)
    kinds = [kind for kind, *_ in rows]
    assert shaped.lines.height == kinds.count("Sale Line")
    assert shaped.payments.height == kinds.count("Payment")
    assert shaped.skipped.height == kinds.count("Note")
    assert {*shaped.lines[TX], *shaped.payments[TX]} <= {*shaped.headers[TX]}
    assert shaped.lines[LINE].is_unique().all()
    assert shaped.headers[TX].to_list() == list(range(shaped.headers.height))


def test_tables_of_helper_gives_each_file_its_own_source() -> None:
    tables = tables_of(spec_of(TABLES), {"headers": "id\n1\n", "items": "order\n1\n"})
    assert tables["headers"][KEY].to_list() == tables["items"][KEY].to_list()
