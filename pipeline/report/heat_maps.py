"""Tables of stores whose cells are coloured by their numbers; the template draws them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pipeline.core.day_middle import shifted_stores, usual_middle
from pipeline.report.charts import Axis, axis_of
from pipeline.report.formatting import visible

NO_STORE: Final = "No store"
MOST_STORES: Final = 40
"""Stores that are drawn: those with something missing, and the largest; report.json has all."""
MOST_MONTHS: Final = 31
"""Only the newest months are drawn: more do not fit beside each other. The sentence is about all."""
LEVELS: Final = 4
NAME: Final = 40
"""Characters of a store's name that are shown."""
_BEGUN_SHARE: Final = 0.1
"""Share of a usual day or month up to which the last one has only begun, as by a sale after midnight."""
_NAMED: Final = 6
"""Stores and days that the sentence names."""


# A tuple, because there may be tens of thousands, and a dataclass takes four times as long to make.
class Cell(NamedTuple):
    """A number of sales.

    Attributes:
        sales: How many; None where none are expected, as before a store's first and at night.
        level: Its colour, 1 to `LEVELS`, by its share of the store's most; 0 for none.
        missing: Days that are missing within it.
    """

    sales: int | None
    level: int
    missing: int = 0


@dataclass(frozen=True)
class HeatMap:
    """Stores by time.

    Attributes:
        title: What it shows.
        text: What there is to see, in a sentence.
        columns: Days, months or hours, all different.
        rows: Stores with a cell for each column.
        left_out: Stores that are not drawn.
    """

    title: str
    text: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    left_out: int = 0


def stores_by_time(values: Mapping[str, Any]) -> HeatMap | None:
    """Sales of each store by day or month; None without dates, or where an older version did not count them.

    Args:
        values: The view; see `pipeline.report.view.view`.
    """
    axis = axis_of(values)
    if axis is None or not values["periods"]:
        return None
    sales = {store: _by_label(axis, periods) for store, periods in values["periods"].items()}
    # A store that the last run had is drawn, so that its absence shows.
    gone = values["previous"]["gone_stores"] if values["previous"] else ()
    sales |= {store: {} for store in gone if store not in sales}
    lost = _lost_days(axis, values["gaps"])
    begun = _only_begun(axis, sales)
    cells = {store: _cells(axis, found, lost.get(store, {}), begun) for store, found in sales.items()}
    first = sorted(cells, key=lambda store: (not _has_hole(cells[store]), -sum(sales[store].values()), store))
    drawn, most = sorted(first[:MOST_STORES]), MOST_MONTHS if axis.unit == "month" else len(axis.labels)
    return HeatMap(
        f"Sales by store and {axis.unit}",
        f"{_what_is_missing(axis, cells, values['gaps'])}{_not_judged(values.get('unjudged', ()))}",
        axis.labels[-most:],
        [(store, cells[store][-most:]) for store in drawn],
        len(cells) - len(drawn),
    )


def stores_by_hour(hours: Mapping[str, Sequence[int]]) -> HeatMap | None:
    """Sales of each store by local hour; None where an older version did not count them.

    Args:
        hours: By store, 24 numbers.
    """
    whole = [sum(column) for column in zip(*hours.values(), strict=True)]
    if not any(whole):
        return None
    usual, off = usual_middle(hours), shifted_stores(hours)
    largest = sorted(hours, key=lambda store: (store not in off, -sum(hours[store]), store))[:MOST_STORES]
    rows = [(store, hours[store]) for store in sorted(largest)]
    if len(hours) > 1:
        rows.insert(0, ("All stores", whole))
    others = [f"{hour}:00 in {visible(store, NAME)}" for store, hour in off.items()]
    text = "Sales are too few, or spread over day and night, to say when the middle of a store's day is."
    if usual is not None:
        but = f"but {_some(others)}: a time zone may be wrong" if others else "and no store differs by much"
        text = f"The middle of the day is about {usual}:00, {but}."
    sold = [hour for hour, number in enumerate(whole) if number]
    shown = range(sold[0], sold[-1] + 1)
    return HeatMap(
        "Sales by store and hour",
        text,
        [str(hour) for hour in shown],
        [
            (store, [Cell(each[hour] or None, _level(each[hour], max(each))) for hour in shown])
            for store, each in rows
        ],
        len(hours) - len(largest),
    )


def _by_label(axis: Axis, periods: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Sales by the labels of the axis."""
    found: dict[str, int] = {}
    for period, (sales, _) in periods.items():
        found[axis.place(period)] = found.get(axis.place(period), 0) + sales
    return found


def _lost_days(axis: Axis, gaps: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Missing days by store and label; a gap over several months is counted in its first."""
    found: dict[str, dict[str, int]] = {}
    for gap in gaps:
        if gap["store"] is not None:
            of_store, label = found.setdefault(gap["store"], {}), axis.place(gap["first"])
            of_store[label] = of_store.get(label, 0) + gap["days"]
    return found


def _only_begun(axis: Axis, sales: Mapping[str, Mapping[str, int]]) -> bool:
    """Whether the last day or month has only begun where the export ends: then no store lacks sales in it."""
    sums = [sum(of_store.get(label, 0) for of_store in sales.values()) for label in axis.labels]
    return len(sums) > 2 and 0 < sums[-1] * len(sums) <= _BEGUN_SHARE * sum(sums)


def _cells(axis: Axis, found: Mapping[str, int], lost: Mapping[str, int], begun: bool) -> list[Cell]:
    """A cell for each label of the axis. A last one that has only begun and has no sales is blank."""
    most = max(found.values(), default=0)
    first = next((n for n, label in enumerate(axis.labels) if label in found), 0)
    last = len(axis.labels) - 1
    return [
        Cell(
            None if n < first or (begun and n == last and label not in found) else found.get(label, 0),
            _level(found.get(label, 0), most),
            lost.get(label, 0) if axis.unit == "month" else 0,
        )
        for n, label in enumerate(axis.labels)
    ]


def _level(number: int, most: int) -> int:
    # Rounded up, so that a cell with only a few sales is coloured too.
    return -(-LEVELS * number // most) if most else 0


def _has_hole(cells: Iterable[Cell]) -> bool:
    return any(cell.sales == 0 or cell.missing for cell in cells)


def _what_is_missing(
    axis: Axis, cells: Mapping[str, Sequence[Cell]], gaps: Sequence[Mapping[str, Any]]
) -> str:
    """Gaps where there always are sales, then days or months without any."""
    sure = [gap for gap in gaps if gap.get("sure") is not False]  # None in runs of older versions
    days = [f"{_gap(gap)} (about {gap['usual']:,} a day are usual)" for gap in sure]
    perhaps = [
        f"{_gap(gap)} (about {gap['usual']:,} a day are usual; chance alone does that to one in "
        f"{gap['odds']:,} days)"
        for gap in gaps
        if gap.get("sure") is False
    ]
    everywhere = {
        label
        for n, label in enumerate(axis.labels)
        if not any(of_store[n].sales for of_store in cells.values())
    }
    holes = {
        store: [
            label
            for label, cell in zip(axis.labels, of_store, strict=True)
            if cell.sales == 0 and label not in everywhere
        ]
        for store, of_store in cells.items()
    }
    stores = [f"nowhere {_some(sorted(everywhere))}"] if everywhere else []
    stores += [
        f"{visible(store, NAME)} "
        + (_some(labels, 3) if any(cell.sales for cell in cells[store]) else "at all")
        for store, labels in sorted(holes.items())
        if labels
    ]
    sentences = [
        f"Days are missing: {_some(days)}." if days else "",
        f"Perhaps missing: {_some(perhaps)}." if perhaps else "",
        f"No sales: {_some(stores, joined='; ')}." if stores else "",
    ]
    found = " ".join(filter(None, sentences))
    return found or f"Every store has sales in every {axis.unit} from its first on."


def _gap(gap: Mapping[str, Any]) -> str:
    """The store and the days of a gap."""
    until = f" to {gap['last'][:10]}" if gap["days"] > 1 else ""
    return f"{visible(gap['store'] or 'every store', NAME)} {gap['first'][:10]}{until}"


def _not_judged(stores: Sequence[Mapping[str, Any]]) -> str:
    """A sentence with the stores where a day without sales means nothing; empty where there are none."""
    if not stores:
        return ""
    named = _some([f"{visible(each['store'], NAME)} ({each['usual']:.1f} a day)" for each in stores])
    return f" Not judged, since too little is sold there, or on too few days, to miss a single day: {named}."


def _some(texts: Sequence[str], most: int = _NAMED, joined: str = ", ") -> str:
    more = len(texts) - most
    return joined.join(texts[:most]) + (f" and {more:,} more" if more > 0 else "")
