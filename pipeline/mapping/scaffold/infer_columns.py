"""Infers from a sample what each column holds, and which role it has, by its contents and its name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import polars as pl

from pipeline.mapping.functions.cell_cleaning import trimmed
from pipeline.mapping.functions.zones import zone_name
from pipeline.mapping.language.value_spec import Number

# Names as they are after `plain`: folded to lower-case ASCII letters and digits. English, German, French,
# Spanish, Portuguese, Italian, Dutch; the likeliest first.
ROLES: Final[dict[str, str]] = {
    "transacted_at": "transactedat saledatetime transactiondatetime datetime saledate transactiondate "
    "transactiontime orderdate invoicedate createdat soldat orderpurchasetimestamp purchasedate ordertime "
    "timestamp date created sold when verkaufsdatum bestelldatum belegdatum datum datevente datecommande "
    "fechaventa fecha datavendita dataora datavenda data datumtijd verkoopdatum",
    "time": "saletime transactiontime ordertime time uhrzeit zeit heure hora ora tijd",
    "timezone": "timezone tz zeitzone fuseauhoraire zonahoraria",
    "key": "receiptno receiptnumber receiptid receipt transactionid transactionno transactionnumber "
    "transaction invoiceno invoicenumber invoiceid invoice saleid saleno salenumber checkid ticketid "
    "ticketno ticketnumber orderid ordernumber orderno name billno bill docno documentno belegnr "
    "belegnummer bonnr bonnummer rechnungsnummer bestellnummer bestellnr auftragsnummer numeroticket "
    "ticket numerofacture facture numerocommande commande numerofactura factura numeropedido pedido "
    "recibo scontrino numeroordine ordine factuurnummer ordernummer",
    "store": "storecode storeid storeno storename store shopid shop branchid branch locationid location "
    "outlet filialnummer filialnr filiale magasin boutique tienda sucursal loja negozio winkel vestiging",
    "register": "registerid register tillid till terminalid terminal posid pos kassennr kasse caisse caja "
    "caixa cassa kassa",
    "currency": "currencycode currency waehrung wahrung devise moneda moeda valuta",
    "total": "saletotal receipttotal ordertotal invoicetotal transactiontotal grandtotal totalamount "
    "totalcollected totalpaid total invoiceamount gesamtbetrag gesamtsumme gesamt summe totalttc "
    "montanttotal importetotal valortotal totale totaalbedrag totaal",
    "email": "customeremail emailaddress email mail kundenemail courriel correoelectronico correo",
    "card": "loyaltycard loyaltyno loyaltynumber membercard memberno membernumber membershipno cardno "
    "kundenkarte cartefidelite tarjetafidelidad cartaofidelidade tessera klantenkaart",
    "customer": "customerid customerno customernumber customercode customerref customer clientid memberid "
    "kundennummer kundennr kunde numeroclient client idcliente cliente klantnummer klant",
    "staff": "staffcode staffid staff cashierid cashiername cashier employeeid employee salesperson server "
    "user operator mitarbeiter verkaufer verkaeufer kassierer vendeur caissier vendedor cajero cassiere "
    "medewerker",
    "status": "salestatus transactionstatus orderstatus financialstatus status state belegstatus "
    "bestellstatus statut estado stato",
    "tender": "tendertype tender paymentmethod paymenttype paymentname payment paidwith cardbrand "
    "zahlungsart zahlart modepaiement moyenpaiement formapago mediopago formapagamento metodopagamento "
    "betaalwijze",
    "paid": "tenderamount amountpaid paidamount amounttendered paymentvalue paymentamount paid bezahlt paye "
    "pagado",
    "quantity": "quantity qty lineitemquantity units pieces menge anzahl stuckzahl stueck stuck quantite qte "
    "cantidad unidades quantidade quantita aantal",
    "price": "unitprice sellprice sellingprice pricesell salesprice lineitemprice itemprice price "
    "einzelpreis stuckpreis verkaufspreis preis prixunitaire prix preciounitario precio precounitario preco "
    "prezzounitario prezzo stukprijs prijs",
    "list_price": "rrp listprice originalprice retailprice regularprice lineitemcompareatprice "
    "compareatprice uvp listenpreis prixpublic pvp",
    "line_total": "linetotal lineamount extendedprice extendedamount netsales netprice netamount sales "
    "positionsbetrag zeilensumme gesamtpreis totalligne montantligne totallinea importelinea totaleriga "
    "regeltotaal",
    "tax": "taxamount lineitemtax salestax vatamount tax vat gst mwst mehrwertsteuer ust tva iva btw",
    "name": "description productname itemname itemdescription lineitemname articlename menuitem title item "
    "product artikelbezeichnung bezeichnung artikelname artikel produkt designation libelle produit article "
    "descripcion producto articulo descricao produto descrizione prodotto articolo omschrijving",
    "sku": "sku lineitemsku productsku stockcode productcode itemcode articlenumber articleno articlenr "
    "artikelnummer artikelnr productid itemid barcode ean upc reference referencia codigo codice",
    "line_no": "lineno linenumber lineid lineitemid orderitemid orderdetailid itemselectionid rowid line "
    "position positionsnr posnr zeilennr zeile ligne linea riga regel",
    "department": "department category productcategory warengruppe kategorie categorie categoria afdeling",
    "record_type": "linetype rowtype recordtype entrytype satzart typeligne tipolinea",
}
"""The roles of columns, and the names that such columns have."""

_SYNONYMS: Final = {role: tuple(names.split()) for role, names in ROLES.items()}

_DATES: Final = (
    *("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y%m%d"),
    *("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d %b %Y", "%b %d, %Y", "%d %B %Y"),
)
_TIMES: Final = (
    *(" %H:%M:%S", " %H:%M", " %I:%M %p", " %I:%M:%S %p", " %H:%M:%S %z", " %H:%M:%S%z", "T%H:%M:%S"),
    *("T%H:%M:%S%z", "T%H:%M:%SZ", " %H:%M:%S%.f", "T%H:%M:%S%.f", "T%H:%M:%S%.f%z", ""),
)
FORMATS: Final = tuple(date + time for time, date in product(_TIMES, _DATES))
CLOCKS: Final = tuple(time.strip() for time in _TIMES if time.startswith(" ") and "z" not in time)

EMAIL: Final = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
_MOSTLY: Final = 0.9


def plain(name: str) -> str:
    """A name without blanks, signs, accents and upper case."""
    folded = unicodedata.normalize("NFKD", name.casefold().replace("ß", "ss"))
    return "".join(c for c in folded if c.isascii() and c.isalnum())


@dataclass(frozen=True)
class ColumnChoice:
    """A column chosen for a role.

    Attributes:
        column: Its name.
        doubt: Why it may be wrong; empty where it has one of the names of the role.
    """

    column: str
    doubt: str = ""


def choose_columns(rows: pl.DataFrame, roles: Iterable[str] = ROLES) -> dict[str, ColumnChoice]:
    """Choose a column for each role, where there is one; no column is chosen twice.

    Args:
        rows: A sample; all columns that are looked at are text.
        roles: The roles wanted, the most important first.
    """
    found: dict[str, ColumnChoice] = {}
    columns = [name for name, dtype in rows.schema.items() if dtype == pl.String]
    for exact in (True, False):
        for role in roles:
            taken = {choice.column for choice in found.values()}
            free = [name for name in columns if name not in taken]
            if role not in found and (choice := _choose(rows, role, free, exact=exact)):
                found[role] = choice
    return found


def _choose(rows: pl.DataFrame, role: str, columns: Sequence[str], *, exact: bool) -> ColumnChoice | None:
    for synonym, name in product(_SYNONYMS[role], columns):
        loosely = role in _LOOSE and len(synonym) > 3 and synonym in plain(name)
        matches = plain(name) == synonym if exact else loosely
        if matches and _fits(rows[name], role):
            return ColumnChoice(name, "" if exact else f"`{name}` only sounds like it")
    return None


_LOOSE = (
    *(
        "transacted_at",
        "total",
        "currency",
        "email",
        "card",
        "customer",
        "store",
        "staff",
        "status",
        "tender",
    ),
    *("quantity", "price", "name", "sku"),
)
"""Roles for which a name that only contains one of their names is good enough."""

_AMOUNTS = ("total", "paid", "price", "list_price", "line_total", "tax", "quantity")


_NEEDS_CONTENT = ("key", "transacted_at", "time", "timezone", "status", "record_type", *_AMOUNTS)
"""Roles that a blank column cannot have."""


def _fits(cells: pl.Series, role: str) -> bool:
    """Whether the contents of a column fit a role."""
    filled = values(cells)
    if filled.is_empty():
        return role not in _NEEDS_CONTENT
    if role in _AMOUNTS:
        return share(filled, _NUMBER) > _MOSTLY / 2
    if role == "key":
        return filled.len() * 2 > cells.len()
    return role not in _CONTENTS or _CONTENTS[role](filled)


def values(cells: pl.Series) -> pl.Series:
    """The cells that are not blank, trimmed."""
    return cells.to_frame("cell").select(trimmed(pl.col("cell"), ())).to_series().drop_nulls()


def share(filled: pl.Series, pattern: str) -> float:
    """The share of texts that match a pattern."""
    return float(filled.str.contains(pattern).mean() or 0)  # type: ignore[arg-type]


# ── Dates ───────────────────────────────────────────────────────────────────────────────────────────


def date_formats(filled: pl.Series) -> list[str]:
    """The formats of nearly all texts, the likeliest first; several where day and month may be swapped."""
    if share(filled, r"^1\d{9}(\.\d+)?$") > _MOSTLY:
        return ["epoch_s"]
    if share(filled, r"^1\d{12}$") > _MOSTLY:
        return ["epoch_ms"]
    read = [(form, _parsed(filled, form)) for form in FORMATS]
    best = min(times.null_count() for _, times in read)
    if best > filled.len() * (1 - _MOSTLY / 2):
        return []
    found: list[tuple[str, pl.Series]] = []
    for form, times in read:
        # Another format with the same result adds nothing; one with other results is a real doubt.
        if times.null_count() == best and not any(times.equals(known) for _, known in found):
            found.append((form, times))
    return [form for form, _ in found]


def _parsed(filled: pl.Series, form: str) -> pl.Series:
    """The times in UTC, null where the format does not fit or gives an unlikely year."""
    zone = "UTC" if "%z" in form else None
    times = filled.str.strptime(pl.Datetime("us", zone), form, strict=False).dt.replace_time_zone(None)
    return times.set(~times.dt.year().is_between(1970, 2100).fill_null(value=True), None)


def clock_formats(filled: pl.Series) -> list[str]:
    """The formats of nearly all texts as times of a day."""
    day = pl.Series(["2000-01-01 "]).new_from_index(0, filled.len()) + filled
    allowed = filled.len() * (1 - _MOSTLY)
    return [form for form in CLOCKS if _parsed(day, f"%Y-%m-%d {form}").null_count() <= allowed]


def has_offset(form: str) -> bool:
    """Whether times in a format include their offset from UTC."""
    return form.startswith("epoch") or form.endswith(("%z", "Z"))


# ── Numbers ─────────────────────────────────────────────────────────────────────────────────────────

_SIGNS = r"[$€£¥]|[A-Z]{3}|kr"
_NUMBER = rf"^\(?[+-]?(?:{_SIGNS})?\s?[+-]?\d[\d.,' ]*\s?(?:{_SIGNS})?\)?-?$"
_COMMA = rf",\d{{1,2}}\s?(?:{_SIGNS})?\)?-?$"
_POINT = rf"\.\d{{1,4}}\s?(?:{_SIGNS})?\)?-?$"


def number_form(columns: Iterable[pl.Series]) -> Number:
    """The notation of the amounts in these columns, taken together."""
    filled = pl.concat(
        [values(cells).cast(pl.String).alias("") for cells in columns] or [pl.Series("", [""])]
    )
    amounts = filled.filter(filled.str.contains(_NUMBER))
    comma = share(amounts, _COMMA) > share(amounts, _POINT)
    thousands = "." if comma else ","
    grouped = rf"\d{re.escape(thousands)}\d{{3}}"
    signs = amounts.str.extract(rf"({_SIGNS})").drop_nulls().unique().sort()
    return Number(
        decimal="," if comma else ".",
        thousands=thousands if share(amounts, grouped) else "",
        currency=tuple(signs),
        parentheses=share(amounts, r"^\(.*\)$") > 0,
        trailing_minus=share(amounts, r"\d-$") > 0,
    )


def is_whole(cells: pl.Series) -> bool:
    """Whether all numbers of a column are whole."""
    return share(values(cells), r"^[+-]?\d+(?:[.,]0+)?$") == 1.0


# ── Statuses ────────────────────────────────────────────────────────────────────────────────────────

_STATES = {
    "complete": "completed complete closed paid done sale sold refund refunded partiallyrefunded return "
    "returned fulfilled delivered success finished abgeschlossen bezahlt geliefert erledigt termine paye "
    "livre completado pagado entregado completato pagato afgerond betaald",
    "void": "void voided",
    "draft": "draft parked saved quote basket entwurf brouillon borrador bozza",
    "partially_paid": "layby layaway partiallypaid deposit anzahlung acompte",
    "cancelled": "cancelled canceled aborted failed unavailable abandoned abgebrochen storniert annule "
    "cancelado anulado annullato geannuleerd",
    "order_open": "open pending authorized processing approved invoiced created shipped ordered awaiting "
    "offen inbearbeitung encours pendiente aperto",
}


def states(words: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Sort status words by meaning; the second result lists the unknown ones."""
    meaning = {word: state for state, known in _STATES.items() for word in known.split()}
    sorted_: dict[str, list[str]] = {}
    unknown = []
    for word in words:
        if state := meaning.get(plain(word)):
            sorted_.setdefault(state, []).append(word)
        else:
            unknown.append(word)
    return sorted_, unknown


def _is_status(filled: pl.Series) -> bool:
    words = filled.unique()
    return words.len() <= 20 and bool(states(words)[0])


_CONTENTS: Final[dict[str, Callable[[pl.Series], bool]]] = {
    "transacted_at": lambda filled: bool(date_formats(filled)),
    "time": lambda filled: bool(clock_formats(filled)),
    "timezone": lambda filled: zone_name(str(filled[0])) is not None,
    "email": lambda filled: share(filled, EMAIL) > _MOSTLY / 2,
    "currency": lambda filled: share(filled, r"^[A-Za-z]{3}$") > _MOSTLY,
    "status": _is_status,
}
"""What the contents of a column must be for a role."""

RECORDS = {
    "header": ("sale", "header", "transaction", "receipt", "order", "h", "kopf", "entete"),
    "item": ("saleline", "line", "item", "lineitem", "detail", "l", "d", "position", "ligne"),
    "payment": ("payment", "tender", "p", "zahlung", "paiement"),
}
"""Words for the record types in files that hold several."""


def record_words(words: Sequence[str]) -> dict[str, list[str]]:
    """Which words of a column mean headers, items and payments; empty where it holds other words."""
    found = {kind: [word for word in words if plain(word) in known] for kind, known in RECORDS.items()}
    return found if found["header"] and found["item"] else {}


def lists_in(rows: pl.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """Lists of objects, as `column` or inside of objects as `column.member`, with their members' names."""
    for name, dtype in rows.schema.items():
        held = _json_type(values(rows[name])) if dtype == pl.String else dtype
        if members := _members_of(held):
            yield name, members
        elif isinstance(held, pl.Struct):
            inner = ((f"{name}.{member.name}", _members_of(member.dtype)) for member in held.fields)
            yield from ((path, members) for path, members in inner if members)


def _members_of(dtype: object) -> list[str]:
    """The names in a list of objects; none for another type."""
    inner = dtype.inner if isinstance(dtype, pl.List) else None
    return [member.name for member in inner.fields] if isinstance(inner, pl.Struct) else []


def _json_type(texts: pl.Series) -> pl.DataType | None:
    """The type of a column of JSON lists or objects; None for another column."""
    is_json = any(
        share(texts, every) == 1 and share(texts, some) > 0
        for every, some in ((r"^\[\s*[{\]]", r"^\[\s*\{"), (r"^\{\s*[\"}]", r"^\{\s*\""))
    )
    try:
        return texts.str.json_decode(infer_schema_length=None).dtype if is_json else None
    except pl.exceptions.ComputeError:  # Not JSON in spite of its braces, or members of several types.
        return None
