"""Which columns fit which role, by their names and by what they hold."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Final

import polars as pl

from pipeline.mapping.scaffold.vocabulary.cells import plain, values, words_of
from pipeline.mapping.scaffold.vocabulary.roles import AMOUNTS, NO_AMOUNT, ROLES

_NUMBER_WORDS: Final = frozenset(
    ["n", "no", "nr", "num", "numero", "numar", "nomer", "number", "id", "code", "key"]
)
"""Words beside which one other word is enough to name a sale: `N° ticket`."""


_SMALL_WORDS: Final = frozenset(
    ["of", "the", "de", "da", "do", "di", "du", "del", "della", "der", "des", "la", "le", "van"]
)
_WITH_TAX: Final = re.compile(
    r"(?i)[\s_]*[(\[]?\b(?:inc|incl|including|inkl)[._\s]*(?:tax|vat|gst|mwst|moms)\b[)\]]?"
)
"""Words which say that an amount is what was paid."""


@cache
def fit(name: str, role: str) -> float:
    """How well a column's name fits a role: 0 for not at all, above 2 for one of the role's own names."""
    name = _WITH_TAX.sub("", name)
    evidence, own = ROLES[role], plain(name)
    words = [word for word in words_of(name) if word not in _SMALL_WORDS] or words_of(name)
    bare = plain(name.split("#")[0]) if name.rfind("#") > 0 else own
    joined = "".join(words)
    for whole in (own, bare, joined):
        if whole in evidence.names:
            return 3 - evidence.names[whole]
    if not evidence.inside or any(word in evidence.against for word in words):
        return 0
    spans = (
        (end - start, "".join(words[start:end]))
        for start in range(len(words))
        for end in range(start + 1, min(start + 4, len(words)) + 1)
    )
    least = 1 if _NUMBER_WORDS & {*words} and len(words) == 2 else evidence.inside
    spans = ((size, span) for size, span in spans if size >= least and span in evidence.names)
    spans = (
        (size, span) for size, span in spans if span not in _NUMBER_WORDS or role != "key" or len(words) == 1
    )
    known = [(size, evidence.names[span]) for size, span in spans]
    if not known:
        return 0
    size, place = max(known, key=lambda each: (each[0], -each[1]))
    return 1 + size / len(words) - place / 2


_NO_MONEY: Final = frozenset(
    f"{NO_AMOUNT} lat latitude lng lon longitude weight kg height width length size distance km score "
    "temperature temp humidity hour hours minutes days duration age ratio share zip postal year month week "
    "inventory level qty quantity units index lead probability".split()
)


def is_perhaps_money(name: str) -> bool:
    """Whether nothing in a column's name says that its numbers are something else than what was paid."""
    return not _NO_MONEY & {*words_of(name)}


_PARTS: Final = frozenset(
    ["subtotal", "sub", "net", "netto", "before", "excl", "ht", "untaxed", "zwischensumme"]
)


def is_part(name: str) -> bool:
    """Whether a column's name says that its amounts are a part of what was paid."""
    return bool(_PARTS & {*words_of(name)})


def paid_or_total(roles: Mapping[str, str]) -> dict[str, str]:
    """The role of amounts that were paid: they are the totals of sales where nothing else is."""
    paid = [name for name in roles if fit(name, "paid") > 2]
    totals = [name for name, role in roles.items() if role == "total" and name not in paid]
    if any(not is_part(name) for name in totals):
        return dict.fromkeys(paid, "paid")
    return {name: "total" for name in paid if fit(name, "total") > 0}


def without_costs(roles: Mapping[str, str]) -> dict[str, str]:
    """The roles of amounts; what sales cost in all is their total only where no price or other total is."""
    total = [name for name, role in roles.items() if role == "total"]
    costs = {name for name in total if any(word.endswith("cost") for word in words_of(name))}
    has_others = any(role in ("total", "price") for name, role in roles.items() if name not in costs)
    return {name: role for name, role in roles.items() if not (has_others and name in costs)}


_SECOND: Final = frozenset(
    [
        "second",
        "secondary",
        "2nd",
        "zweite",
        "zweites",
        "zweiter",
        "deuxieme",
        "seconde",
        "secondaire",
        "segundo",
        "segunda",
        "secondo",
        "seconda",
        "tweede",
        "drugi",
        "druga",
        "andra",
        "anden",
    ]
)


def is_another_of(name: str, first: str, role: str) -> bool:
    """Whether a column is the second of a role that `first` has: `Payment method 2`."""
    if not first or fit(name, role) <= 0:
        return False
    bare, of_first = (plain(each).strip("0123456789") for each in (name, first))
    return bare == of_first or bool(_SECOND & {*words_of(name)})


def is_of_another_status(name: str) -> bool:
    """Whether a column's name says that it is the status of something else than a sale."""
    return bool(ROLES["status"].against & {*words_of(name)})


_PAYMENT: Final = ("pay", "paid", "pag", "paiement", "financ", "zahl", "betal", "platn", "oplat")


def is_of_payment(name: str) -> bool:
    """Whether a column's name says that it is the status of payments."""
    return any(stem in word for word in words_of(name) for stem in _PAYMENT)


_THINGS: Final = ("customer", "sku", "store", "staff", "register", "line_no", "card", "email")


_RETURNED: Final = frozenset(
    [
        *("returned", "return", "returns", "refunded", "retoure", "retour", "devuelta", "devolvida", "resa"),
        *("zwrot", "iade"),
    ]
)


def is_returned_quantity(name: str) -> bool:
    """Whether a column's name says that it holds how many pieces came back."""
    words = words_of(name)
    return bool(_RETURNED & {*words}) and any(word in ROLES["quantity"].names for word in words)


def is_paid_back(name: str) -> bool:
    """Whether a column's name says that it holds how much was paid back for a sale."""
    words = words_of(name)
    others = NO_AMOUNT.split()
    is_amount = any(word in ROLES["total"].names for word in words) and not {*others} & {*words}
    return is_amount and bool(_RETURNED & {*words})


_HUNDREDTHS: Final = frozenset(
    [
        *("cents", "cent", "centavos", "centimos", "centimes", "centesimi", "pence"),
        *("paise", "groszy", "kurus", "kopeks"),
    ]
)


def is_in_hundredths(name: str) -> bool:
    """Whether a column's name says that its amounts are in cents or the like."""
    return bool(_HUNDREDTHS & {*words_of(name)})


_SUPPLIERS: Final = frozenset(
    [
        *(
            "supplier",
            "suppliers",
            "fournisseur",
            "proveedor",
            "fornecedor",
            "lieferant",
            "fornitore",
            "dostawca",
        ),
        *("dodavatel", "leverancier", "tedarikci", "pemasok", "postavshchik"),
    ]
)


def names_supplier(name: str) -> bool:
    """Whether a column's name says that it names who sold the goods to the shop."""
    return bool(_SUPPLIERS & {*words_of(name)})


def numbers_purchase_orders(name: str) -> bool:
    """Whether a column's name says that it numbers purchase orders, which shops get and give."""
    words = {*words_of(name)}
    return "po" in words or {"purchase", "order"} <= words


def names_another(name: str) -> bool:
    """Whether a column's name says that it numbers customers, products or the like, and not sales."""
    own = fit(name, "key")
    if any(fit(name, role) > max(own, 2) for role in _THINGS):
        return True
    return own < 2 and bool(ROLES["key"].against & {*words_of(name)})


def ranked(rows: pl.DataFrame, role: str, taken: Collection[str] = ()) -> list[str]:
    """The columns that can have a role, the likeliest first."""
    texts = [name for name, dtype in rows.schema.items() if dtype == pl.String and name not in taken]
    scored = sorted(((fit(name, role), -at, name) for at, name in enumerate(texts)), reverse=True)
    return [name for score, _, name in scored if score > 0 and _holds(rows[name], role)]


def _is_rather_an_amount(name: str, role: str, score: float) -> bool:
    return role not in AMOUNTS and any(fit(name, amount) > score for amount in AMOUNTS)


def _holds(cells: pl.Series, role: str) -> bool:
    filled = values(cells)
    return filled.len() > 0 and ROLES[role].fits(filled)


def choose_columns(rows: pl.DataFrame, roles: Iterable[str] = ROLES) -> dict[str, str]:
    """Choose a column for each role, where there is one; no column is chosen twice.

    Args:
        rows: A sample; all columns that are looked at are text.
        roles: The roles wanted; where a name fits two equally well, the first has it.
    """
    texts = [name for name, dtype in rows.schema.items() if dtype == pl.String]
    order = {role: place for place, role in enumerate(roles)}
    scored = [
        (fit(name, role), -order[role], -at, role, name) for role in order for at, name in enumerate(texts)
    ]
    found: dict[str, str] = {}
    for score, _, _, role, name in sorted(scored, reverse=True):
        if score <= 0 or role in found or name in found.values() or _is_rather_an_amount(name, role, score):
            continue
        if _holds(rows[name], role):
            found[role] = name
    return found
