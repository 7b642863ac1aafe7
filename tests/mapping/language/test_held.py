"""What a part of a mapping holds is found by the types of its fields, so that no list has to name it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.mapping.language.forms import ColumnName, Frozen, NamesColumns, Sql, Template
from pipeline.mapping.language.held import held_by
from pipeline.mapping.language.value_spec import AggregateValue, ColumnValue, DivideStep, OneOrMore, Value


class Inside(Frozen):
    """A part inside of another."""

    when: Sql
    value: Value | None = None
    note: str = ""


class Whole(AggregateValue):
    """Fields of every form that a mapping has."""

    plain: str = "no value"
    else_: Value | None = Field(None, alias="else")
    one: OneOrMore = ()
    listed: tuple[OneOrMore, ...] = ()
    named: dict[str, tuple[Inside, ...]] = Field({})
    either: Annotated[Inside | tuple[Sql, ...] | None, "a note"] = None
    column: ColumnName = "c"
    template: Template = "{t}"


def test_fields_of_every_form_are_found_with_their_keys_and_the_steps_come_last() -> None:
    column = ColumnValue(column="a")
    whole = Whole.model_construct(
        then=("upper", DivideStep.model_construct(divide_by="by")),
        else_=column,
        one="single",
        listed=(("x", "y"), "z"),
        named={"n": (Inside.model_construct(when="w > 1", value="v"), Inside.model_construct(when="u"))},
        either=("p", "q"),
    )

    assert [tuple(each) for each in held_by(whole)] == [
        (("else",), column, None),
        (("one",), "single", None),
        (("listed", 0, 0), "x", None),
        (("listed", 0, 1), "y", None),
        (("listed", 1), "z", None),
        (("named", "n", 0, "when"), "w > 1", NamesColumns.SQL),
        (("named", "n", 0, "value"), "v", None),
        (("named", "n", 1, "when"), "u", NamesColumns.SQL),
        (("either", 0), "p", NamesColumns.SQL),
        (("either", 1), "q", NamesColumns.SQL),
        (("column",), "c", NamesColumns.ITSELF),
        (("template",), "{t}", NamesColumns.TEMPLATE),
        (("then", 1, "divide_by"), "by", None),
    ]


def test_each_form_of_an_alternative_is_found_and_what_is_left_out_holds_nothing() -> None:
    inside = Inside.model_construct(when="w")
    whole = Whole.model_construct(one=(ColumnValue(column="a"), "b"), either=inside)

    assert [each.steps for each in held_by(whole)] == [
        ("one", 0),
        ("one", 1),
        ("either", "when"),
        ("column",),
        ("template",),
    ]
