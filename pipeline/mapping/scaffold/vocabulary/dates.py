"""How dates and times of a sample are written, and whether day and month could change places."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import product
from typing import Final

import polars as pl

from pipeline.mapping.functions.datetimes import SPREADSHEET_DAYS, read_times
from pipeline.mapping.functions.zones import SEVERAL_ZONES
from pipeline.mapping.language.yaml_text import in_single_quotes, quoted
from pipeline.mapping.scaffold.vocabulary.cells import MOSTLY, share, share_of

_DATES: Final = (
    *("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y%m%d"),
    *("%Y.%m.%d", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y", "%d %b %Y", "%d-%b-%Y"),
    *("%d-%b-%y", "%d %b %y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y", "%a, %d %b %Y", "%d/%b/%Y"),
    *("%b-%d-%y", "%b-%d-%Y", "%d-%B-%Y", "%a %b %d %Y", "%d.%m.%Y.", "%Y %m %d", "%d %m %Y", "%m %d %Y"),
    *("%Y/%b/%d", "%Y-%b-%d", "%Y %b %d", "%d/%b/%y", "%d.%b.%Y", "%d.%b.%y"),
)
_CLOCKS: Final = (
    *("%H:%M:%S", "%H:%M", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p", "%H:%M:%S%.f", "%H.%M.%S", "%H.%M"),
)
_OFFSETS: Final = ("", "%z", " %z", "Z", " UTC", " %Z", " GMT%z")
_BETWEEN: Final = (", ", " - ", " – ", " at ", " ", "T")
_PARTS: Final = {
    "%Y": r"\d{4}",
    "%y": r"\d{2}",
    "%m": r"\d{1,2}",
    "%d": r"\d{1,2}",
    "%b": "[A-Za-z]{3}",
    "%B": "[A-Za-z]{3,9}",
    "%a": "[A-Z][a-z]{2}",
    "%H": r"\d{1,2}",
    "%I": r"\d{1,2}",
    "%M": r"\d{2}",
    "%S": r"\d{2}",
    "%p": "[AaPp][Mm]",
    "%.f": r"\.\d+",
    "%z": r"[+-]\d{2}:?\d{2}",
    "%Z": "[A-Z]{2,5}",
}
_TOKEN: Final = re.compile("|".join(map(re.escape, sorted(_PARTS, key=len, reverse=True))))
_ONE_ZONE: Final = {name: next(iter(offsets)) for name, offsets in SEVERAL_ZONES.items()}
"""The likeliest offset for abbreviations of several zones."""
_LOOKED_AT: Final = 60
"""Texts whose form is compared with every format: enough to meet each form that is not rare."""
_SHAPES_AT_MOST: Final = 200
_DISTINCT: Final = 4000
_OTHER_FORM: Final = 0.003
"""The least share of cells for which a further format is worth a place."""

ENGLISH_MONTHS: Final = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
MONTHS: Final = {
    "English": ENGLISH_MONTHS,
    "German": "j[aä]n|feb|mär|apr|mai|jun|jul|aug|sep|okt|nov|dez",
    "French": "jan|f[eé]v|mars|avr|mai|juin|juil|ao[uû]|sep|oct|nov|d[eé]c",
    "Spanish": "ene|feb|mar|abr|may|jun|jul|ago|se[pt]|oct|nov|dic",
    "Italian": "gen|feb|mar|apr|mag|giu|lug|ago|set|ott|nov|dic",
    "Portuguese": "jan|fev|mar|abr|mai|jun|jul|ago|set|out|nov|dez",
    "Dutch": "jan|feb|mrt|apr|mei|jun|jul|aug|sep|okt|nov|dec",
}
"""How the months begin in some languages, as patterns."""


Change = tuple[str, str]
_BLANKS: Final = (r"\s+", " ")
_SPELLED: Final[tuple[tuple[str, *tuple[Change, ...]], ...]] = (
    (r"\d\s?Uhr\b", (r"\s?Uhr\b", "")),
    (r"\d\s?hs?\.?$", (r"\s?hs?\.?$", "")),
    (r"\d年\d", (r"(\d)[年月](\d)", "${1}-${2}"), ("日", "")),
    (
        r"\((?:UTC|GMT)\s?[+-]\d{1,2}(?::\d{2})?\)$",
        (r"\s*[A-Z]{0,5}\s?\((?:UTC|GMT)\s?([+-])(\d)(?::\d{2})?\)$", " ${1}0${2}:00"),
        (r"\s*[A-Z]{0,5}\s?\((?:UTC|GMT)\s?([+-]\d{2})(?::\d{2})?\)$", " ${1}:00"),
    ),
)
"""What is spelled out in texts with times, each with what is put in its place."""


def replaced(texts: pl.Series, changes: Iterable[Change]) -> pl.Series:
    """The texts after changes."""
    for pattern, with_ in changes:
        texts = texts.str.replace_all(pattern, with_)
    return texts


def replacing(changes: Iterable[Change]) -> list[str]:
    """The steps of the mapping language that make changes."""
    return [
        "squeeze"
        if (pattern, with_) == _BLANKS
        else f"{{replace: {{pattern: {in_single_quotes(pattern)}, with: {quoted(with_)}}}}}"
        for pattern, with_ in changes
    ]


@dataclass(frozen=True)
class DateReading:
    """How the dates of a column are read.

    Attributes:
        formats: Formats of the mapping language, the commonest first.
        read: The share of texts that they read.
        either: The formats of the other reading, where day and month could change places; otherwise empty.
        why: What decided between day and month.
        changes: Patterns that are replaced first, and by what.
        times: The different times that were read; null where a text is none.
    """

    formats: tuple[str, ...]
    read: float
    either: tuple[str, ...] = ()
    why: str = ""
    changes: tuple[Change, ...] = ()
    times: pl.Series | None = None

    @property
    def steps(self) -> list[str]:
        """Steps of the mapping language that come first."""
        return replacing(self.changes)

    @property
    def has_clock(self) -> bool:
        """Whether there is a time of day in it."""
        return self.formats[0].startswith(("epoch", "spreadsheet")) or "%M" in self.formats[0]

    @property
    def has_offset(self) -> bool:
        """Whether there is an offset from UTC, or the abbreviation of a zone, in it."""
        return has_offset(self.formats[0])


def doubtful_zones(filled: pl.Series, form: str) -> dict[str, str]:
    """Abbreviations in texts that mean several zones, and the offset of the likeliest."""
    if not form.endswith("%Z"):
        return {}
    found = filled.str.extract(r"([A-Z]{2,5})$").drop_nulls().unique().sort().to_list()
    return {name: _ONE_ZONE[name] for name in found if name in _ONE_ZONE}


def has_offset(form: str) -> bool:
    """Whether times in a format include their offset from UTC."""
    return form.startswith("epoch") or form.endswith(("%z", "Z", "UTC"))


@cache
def _pattern(form: str) -> re.Pattern[str]:
    parts, at = [], 0
    for token in _TOKEN.finditer(form):
        parts += [re.escape(form[at : token.start()]), _PARTS[token.group()]]
        at = token.end()
    return re.compile("".join([*parts, re.escape(form[at:])]))


_DAY_NUMBER: Final = r"^[34]\d{4}(?:\.\d+)?$"


def is_written_as(text: str, form: str) -> bool:
    """Whether a text has the form of a format."""
    return form in _formats_of(text)


def _formats_of(text: str) -> Iterator[str]:
    """The formats that have the form of a text."""
    for clock in _CLOCKS:
        if (found := _pattern(clock).match(text)) and text[found.end() : found.end() + 1] == " ":
            rest = text[found.end() + 1 :]
            yield from (f"{clock} {date}" for date in _DATES if _pattern(date).fullmatch(rest))
    for date in _DATES:
        if not (found := _pattern(date).match(text)):
            continue
        rest = text[found.end() :]
        if not rest:
            yield date
        between = next((sign for sign in _BETWEEN if rest.startswith(sign)), None)
        if rest and between is not None:
            timed = product(_CLOCKS, _OFFSETS)
            after = rest.removeprefix(between)
            yield from (
                date + between + clock + offset
                for clock, offset in timed
                if _pattern(clock + offset).fullmatch(after)
            )


def date_formats(filled: pl.Series) -> list[str]:
    """The formats of nearly all texts; several where they are mixed or day and month may be swapped."""
    found = read_dates(filled)
    return [*found.formats, *found.either] if found else []


def read_dates(filled: pl.Series, *, spreadsheet: bool = False) -> DateReading | None:
    """How texts are read as dates; None where most are not.

    Args:
        filled: Texts that are not blank, in the order of the file.
        spreadsheet: Numbers may be days of a spreadsheet: the column's name says that it holds dates.
    """
    if filled.is_empty() or share(filled.head(_LOOKED_AT), r"\d") < MOSTLY:
        return None
    for form, pattern in (("epoch_s", r"^1\d{9}(\.\d+)?$"), ("epoch_ms", r"^1\d{12}$")):
        if share(filled, pattern) > MOSTLY:
            return DateReading((form,), share(filled, pattern))
    distinct = filled.unique(maintain_order=True)
    distinct = distinct.gather_every(max(distinct.len() // _DISTINCT, 1))
    changes = _changes_of(distinct)
    distinct = replaced(distinct, changes)
    shapes = distinct.to_frame("text").unique(pl.col("text").str.replace_all(r"\d", "9"), maintain_order=True)
    looked = shapes["text"].head(_SHAPES_AT_MOST).to_list()
    likely = dict.fromkeys(form for text in looked for form in _formats_of(text))
    if spreadsheet and share(distinct, _DAY_NUMBER) > 0:
        likely[SPREADSHEET_DAYS] = None
    times = {form: _parsed(distinct, form) for form in likely}
    counts = {form: len(read) - read.null_count() for form, read in times.items()}
    chosen = _cover(distinct.len(), times, counts)
    if not chosen:
        return None
    unread = pl.Series([True]).new_from_index(0, distinct.len())
    for form in chosen:
        unread &= times[form].is_null()
    read = 1 - int(unread.sum()) / distinct.len()
    if read < MOSTLY / 2:
        return None
    either, why, chosen = _day_or_month(chosen, times)
    return DateReading(tuple(chosen), read, either, why, changes=changes, times=times[chosen[0]])


def _changes_of(distinct: pl.Series) -> tuple[Change, ...]:
    """What texts need before the formats can read them."""
    changes: list[Change] = []
    if share(distinct, r"[\u00a0\u202f]|\s\s") > 0:
        changes.append(_BLANKS)
    changes += [change for sign, *those in _SPELLED if share(distinct, sign) > MOSTLY for change in those]
    if share(distinct, r"\d(?:st|nd|rd|th)\b") > MOSTLY:
        changes.append((r"(\d)(?:st|nd|rd|th)\b", "${1}"))
    language = _language(distinct)
    if language == "English":
        return tuple(changes)
    pairs = zip(MONTHS[language].split("|"), ENGLISH_MONTHS.split("|"), strict=True)
    changes += [(rf"(?i){own}\p{{L}}*", english.title()) for own, english in pairs if own[:3] != english]
    return (*changes, (r"([A-Za-z]{3})\p{L}*", "${1}"), (r"\s+de\s+|\.\s", " "))


def _language(distinct: pl.Series) -> str:
    """The language of the names of months in texts; English where there are none."""
    words = distinct.str.to_lowercase().str.extract(r"([^\s\d.,/:+-]{3,})").drop_nulls()
    fits = {name: share(words, f"^(?:{months})") for name, months in MONTHS.items()}
    best = max(fits, key=lambda name: fits[name])
    return best if fits[best] > MOSTLY else "English"


def _cover(number: int, times: dict[str, pl.Series], counts: dict[str, int]) -> list[str]:
    """The fewest formats that read nearly all texts, the commonest first."""
    chosen: list[str] = []
    left = pl.Series([True]).new_from_index(0, number)
    while left.sum() > number * _OTHER_FORM:
        gains = {form: (read.is_not_null() & left).sum() for form, read in times.items()}
        best = max(gains, key=lambda form: (gains[form], counts[form]), default=None)
        if best is None or gains[best] < max(1, number * _OTHER_FORM):
            break
        chosen.append(best)
        left &= times[best].is_null()
    return chosen


def _swapped(form: str) -> str:
    """The format with day and month in each other's place."""
    return re.sub("%[dm]", lambda part: {"%d": "%m", "%m": "%d"}[part.group()], form)


def _is_half(form: str, chosen: Sequence[str], times: dict[str, pl.Series]) -> bool:
    """Whether all days of a format could be months, and none of the other formats.

    So it is where a spreadsheet has taken months for days: it leaves those above 12 as they were written.
    """
    own = times[form].drop_nulls().dt.day()
    others = [
        times[other].filter(times[form].is_null()).drop_nulls().dt.day() for other in chosen if other != form
    ]
    rest = pl.concat([own.clear(), *others])
    return own.len() >= _MISREAD and rest.len() > 0 and bool((own <= 12).all() and (rest > 12).all())


def _nothing_decides(form: str, chosen: Sequence[str], times: dict[str, pl.Series]) -> bool:
    """Whether all texts of a format can be read with day and month in each other's place, as another day.

    What decides another format says nothing of them: a spreadsheet that takes days for months leaves those
    that it cannot read as they were written.
    """
    other = _swapped(form)
    if other == form or other not in times or other in chosen:
        return False
    here, there = times[form], times[other]
    return not (here.is_not_null() & there.is_null()).any() and not here.equals(there)


def _day_or_month(
    chosen: Sequence[str], times: dict[str, pl.Series]
) -> tuple[tuple[str, ...], str, list[str]]:
    """The formats of the other reading where nothing decides, what decided, and the formats chosen."""
    for form in chosen:
        if _is_half(form, chosen, times) or (form != chosen[0] and _nothing_decides(form, chosen, times)):
            return (_swapped(form),), "", [form, *(each for each in chosen if each != form)]
    first = chosen[0]
    other = _swapped(first)
    if other == first or other not in times or first.startswith(("%Y", "%a")):
        return (), "", [*chosen]
    if other in chosen:
        # Some can only be read with the day first and some only with the month first.
        return (other,), "some have the day first and some the month", [*chosen]
    one, two = times[first], times[other]
    both = one.is_not_null() & two.is_not_null()
    if not both.any():
        return (), "", [*chosen]
    lead = (one.is_not_null() & two.is_null()).sum()
    if lead:
        place = "day" if first.index("%d") < first.index("%m") else "month"
        return (), f"{lead} of {one.len()} different dates can only be read with the {place} first", [*chosen]
    return _by_their_course(other, one.filter(both), two.filter(both), [*chosen])


def _by_their_course(
    other: str, one: pl.Series, two: pl.Series, chosen: list[str]
) -> tuple[tuple[str, ...], str, list[str]]:
    """Decide by the future, by the order of the rows, and by how far the dates lie apart."""
    if one.equals(two):
        return (), "day and month are alike in all dates", chosen
    now = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
    signs = []
    for here, there in ((one, two), (two, one)):
        in_future = (there > now).any() and not (here > now).any()
        in_order = here.len() > 3 and _is_in_order(here) and not _is_in_order(there)
        span, apart = (each.to_frame("at").select(_SPAN).item() for each in (here, there))
        close = here.dt.date().n_unique() > 3 and span * 5 < apart
        why = (
            "the other reading lies in the future"
            if in_future
            else "rows are in order of time only so"
            if in_order
            else "so the dates lie close together"
            if close
            else ""
        )
        signs.append(why)
    if bool(signs[0]) == bool(signs[1]):
        return (other,), "", chosen
    return (), signs[0] or signs[1], chosen if signs[0] else [other, *chosen[1:]]


def misread_years(times: pl.Series) -> str:
    """Why years may be months: a spreadsheet takes 11/12/20 for 2011, where months are up to 12; else empty.

    Then all days of such years are the last digits of the years of the other dates.
    """
    known = times.drop_nulls()
    early = known.filter(known.dt.year().is_between(2001, 2012))
    others = known.filter(known.dt.year() > 2012).dt.year() % 100
    days = early.dt.day().unique().sort()
    if early.len() < _MISREAD or days.len() > 2 or not days.is_in(others.unique().implode()).all():
        return ""
    years, day = early.dt.year().unique().sort().to_list(), days.to_list()[-1]
    return (
        f"whether {years[0]} to {years[-1]} are years: all of their dates have the day {day}, as where"
        f" a spreadsheet takes 11/12/{day} for 2011-12-{day}"
    )


def by_named_days(reading: DateReading, filled: pl.Series, names: Sequence[str]) -> DateReading:
    """The reading of which the days lie between those in the names of files, where it could be two."""
    found = [day for name in names for day in re.findall(r"\d{4}-\d{2}-\d{2}", name)]
    if not reading.either or reading.either[0] in reading.formats or not found:
        return reading
    first, last = (day.strip("-") for day in (min(found), max(found)))
    inside = []
    for form in (reading.formats[0], reading.either[0]):
        days = _parsed(filled, form).dt.strftime("%Y-%m-%d")
        inside.append(share_of(days.is_between(pl.Series([first]), pl.Series([last]))) > MOSTLY)
    if inside[0] == inside[1]:
        return reading
    formats = reading.formats if inside[0] else (reading.either[0], *reading.formats[1:])
    why = f"so the dates lie between {first} and {last}, as files are named"
    return replace(reading, formats=formats, either=(), why=why)


_MISREAD: Final = 8
"""So many different dates of a few days only are no chance."""
_SPAN: Final = (pl.col("at").max() - pl.col("at").min()).dt.total_seconds()
"""Seconds between the first and the last time."""


def _is_in_order(times: pl.Series) -> bool:
    return times.is_sorted() or times.is_sorted(descending=True)


def _parsed(texts: pl.Series, form: str) -> pl.Series:
    """The times, null where the format does not fit or gives an unlikely year."""
    times = read_times(texts, form, _ONE_ZONE)
    if form == SPREADSHEET_DAYS:
        return times.set(~texts.str.contains(_DAY_NUMBER), None)
    return times.set(~times.dt.year().is_between(1970, 2100).fill_null(value=True), None)


def clock_times(filled: pl.Series, form: str) -> pl.Series:
    """Times of a day, on one day; null where the format does not fit."""
    return _parsed("2000-01-01 " + filled, f"%Y-%m-%d {form}")


def clock_formats(filled: pl.Series) -> list[str]:
    """The formats of nearly all texts as times of a day."""
    looked = filled.unique(maintain_order=True).head(_DISTINCT)
    likely = [form for form in _CLOCKS if any(_pattern(form).fullmatch(t) for t in looked.head(_LOOKED_AT))]
    allowed = looked.len() * (1 - MOSTLY)
    return [form for form in likely if clock_times(looked, form).null_count() <= allowed]
