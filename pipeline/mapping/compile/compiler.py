"""A mapping becomes a plan once; the plan turns raw transactions into Omneo's fields, bucket by bucket."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.core.currencies import smallest_amount
from pipeline.core.frames import NO_PROBLEMS, problems_at
from pipeline.core.model import ITEM_FIELDS, LINE, SOURCE, TRANSACTION_FIELDS, TX, Kind
from pipeline.mapping.compile.column_plan import Aggregate, Frames, Plan, with_columns
from pipeline.mapping.compile.fields import Columns, field_columns
from pipeline.mapping.compile.section_rules import SECTION_RULES
from pipeline.mapping.compile.sections import (
    amount_of,
    completion_columns,
    gathered_payments,
    payment_columns,
    profile_columns,
    turned_as_a_whole,
)
from pipeline.mapping.compile.steps import apply_step
from pipeline.mapping.compile.typed_expression import NOTHING, as_text
from pipeline.mapping.compile.value_rules import column_problems
from pipeline.mapping.compile.values import CHOOSING, Bench
from pipeline.mapping.functions import json_text as jsontext
from pipeline.mapping.functions.datetimes import MOMENT
from pipeline.mapping.functions.lookup_tables import load_tables
from pipeline.mapping.functions.numbers import MONEY, decimal_text
from pipeline.mapping.functions.rule_conditions import MAPPED, compile_rule
from pipeline.mapping.language.mapping_errors import CompileError, Faults, FormulaError
from pipeline.mapping.language.source_map import Found
from pipeline.mapping.language.spec import DateTime, DateTimeStep, MappingSpec, Value
from pipeline.mapping.layout.allocation import spread
from pipeline.mapping.layout.id_checks import invisible_characters, item_conflicts, rounded_cells, rounded_ids
from pipeline.mapping.layout.raw_transactions import HEADERS, ITEMS, PAYMENTS, Shaped
from pipeline.mapping.usage import visitor as walk
from pipeline.mapping.usage.column_names import Names, name_problems, used_columns
from pipeline.mapping.usage.used_columns import columns_used, id_columns, key_cells, keys_of, values_of
from pipeline.mapping.usage.visitor import Scope, has_headers_on_lines, has_payment_rows

_PLACE: Final = (TX, SOURCE, LINE)
FAR_APART_HOURS: Final = 12
"""No sale takes so long: rows further apart are of sales whose numbers start again each day."""
_EITHER_SIGN = {"rounding", "margin"}
"""Amounts that are below zero now and then on sales too: on a refund they are turned, not made negative."""


@dataclass(frozen=True)
class Mapped:
    """Transactions and items in Omneo's terms.

    Attributes:
        headers: One row a transaction, in the order of TX: TX, SOURCE, LINE; a column for each mapped field
            (lists and objects as JSON text); `<field>|raw`, the text before the cast, beside amounts,
            integers, booleans, dates, `timezone` and `profile_id`: there and the field null means invalid;
            `transacted_at|local`, `|ambiguous`, `|nonexistent`; `status|raw`, `status|outcome`; `paid` (and
            `paid|raw` where the mapping gives it),
            `payments_total`, `items_total` (null where any item has no quantity or price), `items_count`.
        items: One row an item, by TX and in source order: TX, SOURCE, LINE, the mapped fields, `<field>|raw`.
        problems: What shaping and mapping found, in the frame all stages share for that.
        headless: TX of the transactions whose header row was not read: what their headers say means nothing.
    """

    headers: pl.DataFrame
    items: pl.DataFrame
    problems: pl.DataFrame
    headless: pl.Series


@dataclass
class CompiledMapping:
    """A mapping that is ready to be applied; it holds no state of the rows it saw.

    Attributes:
        spec: The mapping.
        plan: What is computed first.
        headers: The columns of the transactions.
        items: The columns of the items.
        payments: For each way to pay its entry and its amount, where payments are rows of their own.
        not_items: Columns of the lines that say which are no items.
        void: Where a line is void; None where the mapping does not say it.
        discount: Whether there are discount lines.
        reward: The column with the redeemed amount, if any.
    """

    spec: MappingSpec
    plan: Plan
    headers: Columns = field(default_factory=dict)
    items: Columns = field(default_factory=dict)
    payments: tuple[list[pl.Expr], list[pl.Expr]] | None = None
    not_items: list[str] = field(default_factory=list)
    void: pl.Expr | None = None
    discount: bool = False
    reward: str = ""

    def apply(self, shaped: Shaped) -> Mapped:
        """Map the transactions of one bucket."""
        frames = self._frames(shaped)
        told: list[pl.DataFrame] = []
        for step in self.plan.steps:
            step.run(frames, told)
        lines = frames[Scope.LINE]
        if self.not_items:
            lines = lines.filter(~pl.any_horizontal(self.not_items))
        # A mapping without items imports sales alone, whatever lines there are.
        items = self._selected(lines if self.items else lines.clear(), self.items, told)
        headers = self._selected(frames[Scope.TRANSACTION], self.headers, told)
        headers = self._with_payments(headers, frames[Scope.PAYMENT])
        items, unspread = self._with_shares(items, frames, headers)
        odd = self._odd_ids(shaped, headers, items)
        problems = [shaped.problems, *told, *odd, *self._problems(frames, lines), unspread]
        return Mapped(_with_item_totals(headers, items), items, pl.concat(problems), shaped.headless)

    def _frames(self, shaped: Shaped) -> Frames:
        rows = {
            Scope.TRANSACTION: shaped.headers,
            Scope.LINE: shaped.lines,
            Scope.PAYMENT: shaped.payments,
        }
        nulls = self.spec.source.nulls
        return {scope: self.plan.start(scope, frame, nulls) for scope, frame in rows.items()}

    def _odd_ids(self, shaped: Shaped, headers: pl.DataFrame, items: pl.DataFrame) -> Iterator[pl.DataFrame]:
        # Where a transaction has no row of its own, its cells are on each of its lines.
        rows = [] if has_headers_on_lines(self.spec) else [shaped.headers]
        for frame in (*rows, shaped.lines, shaped.payments):
            yield invisible_characters(frame, self.plan.ids)
            yield rounded_cells(frame, key_cells(self.spec, keys_of(self.spec)))
        yield rounded_ids(headers, ("external_id", "profile_id"))
        yield rounded_ids(items, ("external_id",))
        yield item_conflicts(items)

    def _selected(self, rows: pl.DataFrame, columns: Columns, told: list[pl.DataFrame]) -> pl.DataFrame:
        fresh = {f"={name}": expression for name, expression in columns.items()}
        done = with_columns(rows, fresh, told).select_seq(*_PLACE, *fresh)
        return done.rename({f"={name}": name for name in columns})

    def _with_payments(self, headers: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
        if self.payments is None:
            return headers
        gathered = gathered_payments(rows, *self.payments, self.spec.payments_form)
        return headers.join(gathered, on=TX, how="left", maintain_order="left")

    def _with_shares(
        self, items: pl.DataFrame, frames: Frames, headers: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Spread discount lines and the reward over the items; what no item can bear is a problem."""
        if not (self.discount or self.reward):
            return items, NO_PROBLEMS
        amounts = pl.concat([*self._discounts(frames), *self._rewards(frames)])
        currency = headers["currency"].gather(amounts[TX]) if "currency" in headers.columns else NOTHING
        amounts = amounts.with_columns(currency.alias("currency"))
        shares, left = spread(items, amounts.with_columns(smallest=smallest_amount(pl.col("currency"))))
        own = jsontext.inner(pl.col("discounts")) if "discounts" in items.columns else NOTHING
        items = items.with_columns(shares["price_sell"], shares["entries"])
        items = items.with_columns(jsontext.entries([own, pl.col("entries")]).alias("discounts"))
        rows = left.join(frames[Scope.TRANSACTION].select(_PLACE), on=TX, maintain_order="left")
        message = "There is no item with a price over which this could be spread."
        told = problems_at(
            rows, "field_invalid", message, field="reward", value=decimal_text(pl.col("amount"))
        )
        return items.drop("entries"), told

    def _discounts(self, frames: Frames) -> Iterator[pl.DataFrame]:
        if self.discount:
            after = self.spec.lines.discount_prices == "after"
            yield (
                frames[Scope.LINE]
                .filter(pl.col("__discount") & ~(pl.lit(value=False) if self.void is None else self.void))
                .select(
                    TX,
                    pl.col("__discount_amount").abs().alias("amount"),
                    pl.col("__discount_reason").alias("reason"),
                    pl.lit(not after).alias("taken_off"),
                )
                .drop_nulls("amount")
            )

    def _rewards(self, frames: Frames) -> Iterator[pl.DataFrame]:
        if self.spec.reward and self.reward:
            yield (
                frames[Scope.TRANSACTION]
                .select(
                    TX,
                    pl.col(self.reward).abs().alias("amount"),
                    pl.lit(self.spec.reward.reason).alias("reason"),
                    pl.lit(self.spec.reward.prices == "before").alias("taken_off"),
                )
                .drop_nulls("amount")
            )

    def _problems(self, frames: Frames, items: pl.DataFrame) -> Iterator[pl.DataFrame]:
        for check in self.plan.checks:
            yield check.problems(items if check.items_only else frames[check.scope])


def _with_item_totals(headers: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Add `items_total`, without the lines that are void, and `items_count`."""
    priced = {"quantity", "price_sell"} <= {*items.columns}
    paid = pl.col("quantity") * pl.col("price_sell") if priced else pl.lit(None, dtype=MONEY)
    if priced and "is_void" in items.columns:
        paid = pl.when(pl.col("is_void").fill_null(value=False)).then(pl.lit(0, MONEY)).otherwise(paid)
    found = (
        items.select(TX, paid.alias("paid"))
        .with_columns(pl.col(TX).set_sorted())
        .group_by(TX, maintain_order=True)
        .agg(
            pl.col("paid").sum().alias("items_total"),
            pl.col("paid").null_count().alias("unpriced"),
            pl.len().cast(pl.UInt32).alias("items_count"),
        )
    )
    total = pl.when(pl.col("unpriced") == 0).then("items_total").cast(pl.Decimal(38, MONEY.scale))
    found = found.select(TX, total.alias("items_total"), "items_count")
    if found.height == headers.height:
        return headers.hstack(found.drop(TX))
    joined = headers.join(found, on=TX, how="left", maintain_order="left")
    return joined.with_columns(pl.col("items_count").fill_null(0))


# ── Compiling ───────────────────────────────────────────────────────────────────────────────────────


def compile_mapping(
    spec: MappingSpec,
    columns: Mapping[str, Sequence[str]],
    *,
    directory: Path,
    sources: Sequence[str] = (),
) -> CompiledMapping:
    """Compile a mapping over the columns of its source.

    Args:
        spec: The mapping.
        columns: The source's columns by table (`lines`; or `headers`, `items`, `payments`).
        directory: The mapping's own, under which look-up tables are.
        sources: The files given on the command line, for look-up tables among them.

    Raises:
        CompileError: Values cannot be computed from these columns, or look-up tables cannot be used;
            all that is wrong is told at once.
    """
    compiled, faults = examine(spec, columns, directory=directory, sources=sources)
    if faults:
        raise CompileError(faults)
    return compiled


def examine(
    spec: MappingSpec,
    columns: Mapping[str, Sequence[str]] | None,
    *,
    directory: Path,
    sources: Sequence[str] | None,
) -> tuple[CompiledMapping, list[Found]]:
    """Compile a mapping as far as that goes: this is all the checking there is.

    Args:
        spec: The mapping.
        columns: As for `compile_mapping`; None where they are not known: then all that it uses are there.
        directory: As for `compile_mapping`.
        sources: As for `compile_mapping`; None where they are not known.

    Returns:
        The compiled mapping, which can be used where nothing is wrong; and all that is wrong.
    """
    names = Names(spec, columns)
    faults = Faults()
    known = used_columns(spec) if columns is None else names.with_unknown()
    tables, broken = load_tables(spec, directory, sources)
    faults.add(*broken, *column_problems(spec))
    faults.broken |= {str(found.place[1]) for found in faults.found if found.place[0] == "columns"}
    for rule in SECTION_RULES:
        faults.add(*rule(spec))
    plan = Plan(_available(spec, known), ids=id_columns(spec))
    compiler = _Compiler(Bench(spec, plan, tables, columns_used(spec), faults=faults))
    compiler.run()
    places = {found.place for found in faults.found}
    faults.add(*(found for found in name_problems(names) if found.place not in places))
    return compiler.compiled, list(dict.fromkeys(faults.found))


def _available(spec: MappingSpec, columns: Mapping[str, Collection[str]]) -> dict[Scope, frozenset[str]]:
    """Whose cells there are, by the layout."""
    every = frozenset(name for table in columns.values() for name in table)
    absent = frozenset(spec.source.optional) - every  # blank, as the plan makes what a frame has not
    used = columns_used(spec)
    match spec.source.layout:
        case "tables":
            items = frozenset(columns.get(ITEMS, ()))
            headers = frozenset(columns[HEADERS]) if HEADERS in columns else items
            payments = frozenset(columns.get(PAYMENTS, ()))
        case "records":
            headers = items = payments = every
        case "nested":
            headers, items, payments = every, _members(used.line, ITEMS), _members(used.payment, PAYMENTS)
        case "headers":
            headers, items, payments = every, frozenset(), frozenset()
        case _:
            headers, items, payments = every, every, frozenset()
    return {
        Scope.TRANSACTION: headers | absent,
        Scope.LINE: items | absent,
        Scope.PAYMENT: payments | absent,
        Scope.MAPPED: frozenset(),
    }


def _members(names: frozenset[str], table: str) -> frozenset[str]:
    return frozenset(name for name in names if name.startswith(f"{table}."))


class _Compiler:
    """Compiles one section after the other; what is wrong is noted in the bench's faults."""

    def __init__(self, bench: Bench) -> None:
        self.spec = bench.spec
        self.bench = bench
        self.compiled = CompiledMapping(bench.spec, bench.plan)
        self._refund: pl.Expr | None = None

    def run(self) -> None:
        """Compile all of the mapping."""
        for section in (
            self._refunds,
            self._transaction,
            self._completion,
            self._profile,
            self._payments,
            self._lines,
            self._items,
            self._reward,
            self._definitions,
            self._rules,
        ):
            section()

    @contextmanager
    def _part(self, *place: str | int, scope: Scope = Scope.TRANSACTION) -> Iterator[Bench]:
        """A bench for one part of the mapping; what is wrong with it is noted, and the rest goes on."""
        target = str(place[1] if place[0] in ("transaction", "items") and len(place) > 1 else place[0])
        bench = replace(self.bench.at(scope), target=target, items_only=place[0] == "items", place=place)
        try:
            yield bench
        except FormulaError as error:
            if not bench.faults.around(place):  # else it only follows from that
                bench.note(error)

    def _refunds(self) -> None:
        if self.spec.refund:
            with self._part("refund", "when") as bench:
                bench.plan.derive(bench.scope, "__refund", bench.condition(self.spec.refund.when))
                self._refund = pl.col("__refund")

    def _turned(self, what: str) -> Callable[[pl.Expr], pl.Expr]:
        """What a refund does to amounts (`total`) or quantities (`quantity`): it makes them negative."""
        if self._refund is None or not self.spec.refund or what not in self.spec.refund.negate:
            return lambda value: value
        refund = self._refund
        return lambda value: pl.when(refund).then(-value.abs()).otherwise(value)

    def _transaction(self) -> None:
        for name, value in self.spec.transaction.items():
            with self._part("transaction", name) as bench:
                columns = field_columns(TRANSACTION_FIELDS[name], bench.compile(value), bench)
                if TRANSACTION_FIELDS[name].kind is Kind.DECIMAL:
                    columns[name] = self._turned_field(name)(columns[name]).cast(MONEY)
                self.compiled.headers |= columns
                if name == "transacted_at":
                    self._rows_far_apart(value, bench)

    def _rows_far_apart(self, value: Value, bench: Bench) -> None:
        """Look whether the lines from which a sale's time is chosen are of one sale at all."""
        if not any(isinstance(site.value, CHOOSING) for site in values_of(self.spec, value, bench.scope)):
            return
        line = bench.each_line().compile(value)
        if line.dtype == pl.String:
            line = apply_step(DateTimeStep(datetime=DateTime(formats=("iso",))), line, bench.each_line())
        ends = []
        for how in (pl.Expr.min, pl.Expr.max):
            name = bench.fresh("end")
            bench.plan.derive(Scope.LINE, name, line.value)
            bench.plan.aggregate(Aggregate(name, name, how, None, MOMENT))
            ends.append(pl.col(name))
        first, last = ends
        bench.check(
            "rows_far_apart",
            f"Rows of this sale are more than {FAR_APART_HOURS} hours apart; they may be of several sales.",
            (last - first) > pl.duration(hours=FAR_APART_HOURS),
            pl.format("{} to {} UTC", *(end.dt.strftime("%Y-%m-%d %H:%M:%S") for end in ends)),
        )

    def _turned_field(self, name: str) -> Callable[[pl.Expr], pl.Expr]:
        refund = self._refund
        if (
            name in _EITHER_SIGN
            and refund is not None
            and self.spec.refund
            and "total" in self.spec.refund.negate
        ):
            return lambda value: pl.when(refund).then(-value).otherwise(value)
        return self._turned("total")

    def _completion(self) -> None:
        with self._part("completion") as bench:
            columns = completion_columns(
                self.spec.completion, replace(bench, target="paid"), self._turned("total")
            )
            headers = self.compiled.headers
            if self.spec.completion and self.spec.completion.void:
                void = columns["status|outcome"] == "void"
                mapped = headers.get("is_void", pl.lit(None, dtype=pl.Boolean))
                headers["is_void"] = pl.when(void).then(True).otherwise(mapped)
                headers.setdefault("is_void|raw", pl.lit(None, dtype=pl.String))
            headers |= columns

    def _profile(self) -> None:
        with self._part("profile") as bench:
            self.compiled.headers |= profile_columns(self.spec.profile, bench)

    def _payments(self) -> None:
        headers = self.compiled.headers
        if not self.spec.payments:
            headers["payments_total"] = pl.lit(None, dtype=MONEY)
            return
        rows = has_payment_rows(self.spec)
        with self._part("payments", scope=Scope.PAYMENT if rows else Scope.TRANSACTION) as bench:
            self._spread_refund(bench)
            refund = self._refund if self.spec.refund and "total" in self.spec.refund.negate else None
            entries, amounts = payment_columns(self.spec.payments, self.spec.payments_form, bench, refund)
            if rows:
                self.compiled.payments = entries, amounts
                return
            given = pl.any_horizontal(amount.is_not_null() for amount in amounts)
            headers["payments"] = jsontext.entries(entries)
            headers["payments_total"] = pl.when(given).then(pl.sum_horizontal(amounts)).cast(MONEY)

    def _spread_refund(self, bench: Bench) -> None:
        if self._refund is not None and bench.scope is not Scope.TRANSACTION:
            bench.plan.broadcast(bench.scope, "__refund", "__refund")

    def _lines(self) -> None:
        for i, sql in enumerate(self.spec.lines.skip):
            with self._part("lines", "skip", i, scope=Scope.LINE) as bench:
                self._not_items(bench, f"__skip_{i}", sql)
        if not self.spec.lines.discount:
            return
        with self._part("lines", "discount", scope=Scope.LINE) as bench:
            self._not_items(bench, "__discount", self.spec.lines.discount)
            amount = self.spec.lines.discount_amount
            if amount is None:
                raise FormulaError("`discount` lines need `discount_amount`")
            bench.plan.derive(bench.scope, "__discount_amount", amount_of(bench.compile(amount), bench))
            reason = self.spec.lines.discount_reason
            text = pl.lit(None, dtype=pl.String) if reason is None else as_text(bench.compile(reason)).value
            bench.plan.derive(bench.scope, "__discount_reason", text)
            self._need_prices()
            self.compiled.discount = True
            self.compiled.void = bench.void_line()

    def _not_items(self, bench: Bench, name: str, sql: str) -> None:
        bench.plan.derive(bench.scope, name, bench.condition(sql))
        self.compiled.not_items.append(name)

    def _items(self) -> None:
        self._spread_refund(self.bench.at(Scope.LINE))
        for name, value in self.spec.items.items():
            with self._part("items", name, scope=Scope.LINE) as bench:
                columns = field_columns(ITEM_FIELDS[name], bench.compile(value), bench)
                if name == "quantity" and self.spec.refund and "quantity" in self.spec.refund.negate:
                    columns[name] = self._turned_quantity(columns[name], bench)
                self.compiled.items |= columns

    def _turned_quantity(self, quantity: pl.Expr, bench: Bench) -> pl.Expr:
        """Quantities of a refund written as positive; those of what was handed out keep the other sign."""
        if self._refund is None:
            return quantity
        name = bench.fresh("quantity")
        bench.plan.derive(bench.scope, name, quantity)
        return turned_as_a_whole(pl.col(name), pl.col(name).sum().over(TX), self._refund)

    def _reward(self) -> None:
        if self.spec.reward:
            with self._part("reward", "amount") as bench:
                amount = amount_of(bench.compile(self.spec.reward.amount), bench)
                bench.plan.derive(bench.scope, "__reward", amount)
                self._need_prices()
                self.compiled.reward = "__reward"

    def _definitions(self) -> None:
        """Definitions that nothing uses are compiled as well, apart from the plan."""
        bench = self.bench
        mentioned = {m.name for root in walk.all_roots(self.spec) for m in walk.mentions(root)}
        mentioned -= self.spec.define.keys()
        available = {scope: names | mentioned for scope, names in bench.plan.available.items()}
        apart = replace(bench, plan=Plan(available, ids=bench.plan.ids), _names={}, scope=Scope.LINE)
        used = {name for _, name in bench._names}
        for name in self.spec.define.keys() - used:
            with suppress(FormulaError):
                apart.column(name)

    def _rules(self) -> None:
        for i, rule in enumerate(self.spec.rules):
            with self._part("rules", i, "when"):
                if MAPPED.keys() >= set(walk.names_in(rule.when)):  # else the names are reported
                    compile_rule(rule.when)

    def _need_prices(self) -> None:
        if not {"quantity", "price_sell"} <= {*self.spec.items}:
            raise FormulaError(
                "spreading an amount over items needs `quantity` and `price_sell` under `items`"
            )
