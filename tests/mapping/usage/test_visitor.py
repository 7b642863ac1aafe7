"""Every value and formula of a mapping is visited, with its place in the file and whose columns it uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.mapping.language.mapping_file import read_mapping
from pipeline.mapping.language.shipped import shipped_names
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.usage import visitor
from pipeline.mapping.usage.visitor import Scope

DEEP = """
mapping: deep
source:
  layout: records
  key: [Key]
  records: {column: Kind, header: [H], item: [I], payment: [P]}
  rows: {skip: ["row = 1"]}
columns: {Day: {datetime: {formats: [iso], timezone: zone_of_column}}}
define:
  in_define: {case: [{when: "line > 1", value: {sum: line_summed}}], else: {list: [line_listed]}}
transaction:
  external_id:
    distinct: {case: [{when: "line = 1", value: line_distinct}]}
    then: [upper, {divide_by: {first: line_first}}, {multiply_by: sale_factor}]
  transacted_at: {column: Day, then: [{datetime: {formats: [iso], timezone: sale_zone}}]}
  staff_id: {lookup: staff, key: [sale_key, {template: "{sale_shop}-{sale_till}"}], value: name}
  rounding: {count: "line = 2"}
completion: {status: sale_status, complete: {sql: "sale = 1"}, draft: [open], paid: {max: line_paid}}
profile: [{value: sale_email, handle: email}]
payments: [{tender: payment_tender, amount: {sql: "payment * 2"}}]
lines: {skip: "line = 3", discount: "line = 4", discount_amount: line_discount}
items: {name: {first_of: [line_name, {object: {x: line_x}}]}}
charges: [{name: Shipping, amount: sale_shipping}]
reward: {amount: sale_reward}
refund: {when: "sale = 5"}
rules: [{code: too_much, when: "total > 3", message: Too much.}]
"""


def spec_of(text: str) -> MappingSpec:
    return read_mapping(Path("deep.yaml"), text.encode()).spec


def test_values_and_formulas_are_visited_with_the_columns_that_they_may_use() -> None:
    spec = spec_of(DEEP)

    values = [each for root in visitor.all_roots(spec) for each in visitor.walk(root)]
    mentions = [mention for each in values for mention in visitor.own_mentions(each)]
    by_scope: dict[Scope, set[str]] = {scope: set() for scope in Scope}
    for mention in mentions:
        by_scope[mention.scope].add(mention.name)

    # Without the names in conditions and under `columns`.
    lines = "line line_discount line_distinct line_first line_listed line_name line_paid line_summed line_x"
    assert " ".join(sorted(by_scope[Scope.LINE])) == lines
    sale = "Day sale_email sale_factor sale_key sale_reward sale_shipping sale_shop sale_status"
    assert " ".join(sorted(by_scope[Scope.TRANSACTION])) == f"{sale} sale_till sale_zone"
    assert by_scope[Scope.PAYMENT] == {"payment_tender", "payment"}
    assert [(each.sql, each.scope) for each in visitor.conditions(spec)] == [
        ("row = 1", Scope.ROW),
        ("sale = 1", Scope.TRANSACTION),
        ("line = 3", Scope.LINE),
        ("line = 4", Scope.LINE),
        ("sale = 5", Scope.TRANSACTION),
        ("total > 3", Scope.MAPPED),
    ]


def test_names_in_sql_are_no_plain_names() -> None:
    values = {each.location[-1]: each.value for each in visitor.roots(spec_of(DEEP))}

    assert visitor.plain_names(values["rounding"]) == ()
    assert visitor.plain_names("sale_email") == ("sale_email",)


def test_definitions_come_first_and_are_no_roots_of_their_own() -> None:
    spec = spec_of(DEEP)

    assert visitor.all_roots(spec)[0].location == ("define", "in_define")
    assert visitor.all_roots(spec)[1:] == visitor.roots(spec)
    assert {str(each.location[0]) for each in visitor.roots(spec)}.isdisjoint({"define", "columns"})


@pytest.mark.parametrize("name", ["deep", *shipped_names()])
def test_every_place_is_one_of_the_file(name: str) -> None:
    text = DEEP if name == "deep" else Path(f"mappings/{name}.yaml").read_text(encoding="utf-8")
    spec, written = spec_of(text), yaml.safe_load(text)

    def at(location: tuple[str | int, ...]) -> Any:
        found = written
        for step in location:
            # A list of one member may be written as the member.
            if not (step == 0 and isinstance(found, str)):
                found = found[step]
        return found

    for root in visitor.all_roots(spec):
        for each in visitor.walk(root):
            if isinstance(each.value, str):
                assert at(each.location) == each.value
            for mention in visitor.own_mentions(each):
                assert mention.name in at(mention.location)
    for condition in visitor.conditions(spec):
        assert at(condition.location) == condition.sql
