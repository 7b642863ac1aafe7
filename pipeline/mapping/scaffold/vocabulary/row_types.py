"""What the words of a column say of its rows: that they are sales, returns, or movements of money."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import polars as pl

from pipeline.mapping.scaffold.vocabulary.cells import plain, words_of

_STEMS: Final[Mapping[str, str]] = {
    "movement": "withdraw payout pay-out transfer deposit bank convers currency fee hold held release "
    "adjust correction reserve dispute chargeback authori topup top-up sent masspay settlement balance loan "
    "interest cashout cash-out float shipping-label postage-label "
    "auszahlung zahlungsausgang abhebung uberweisung ueberweisung einzahlung umbuchung umrechnung "
    "gebuhr gebuehr provision rucklage ruecklage einbehalt korrektur anpassung ruckbuchung "
    "rueckbuchung kaution reservierung "
    "virement retrait versement frais commission retenue ajustement litige depot banque exchange "
    "wahrungs waehrungs retiro retirada transferencia deposito comision retencion ajuste "
    "disputa contracargo divisa banco "
    "saque taxa tarifa resgate antecipacao retencao conversao comissao "
    "prelievo bonifico trasferimento versamento rettifica riserva contestazione trattenuta "
    "opname overboeking uitbetaling storting kosten omrekening correctie inhouding geschil "
    "wyplata przelew wplata prowizja przewalutowanie korekta blokada "
    "uttag utbetalning overforing insattning avgift udbetaling overforsel gebyr "
    "retragere comision depunere vyvod perevod komissiya popolnenie uderzhanie",
    "visit": r"views?\b page-?view add-?to-?cart remove-?from-?cart carts?\b click wishlist impression "
    r"search log-?in\b visit session begin-checkout",
    "refund": "refund return credit reversal reversed gutschrift retoure storno erstattung ruckzahlung "
    "rueckzahlung avoir rembours retour devolu reembols reso rimbors terugbetal estorno zwrot retur "
    "aterbetal tilbagebetal rambursare vozvrat",
    "sale": "sale sold payment purchase order invoice receipt charge checkout capture subscription donation "
    "normal regular online offline pos web instore delivery pickup dine takeaway takeout "
    "verkauf rechnung bon bestellung zahlung kauf vente paiement achat commande facture venta pago compra "
    "pedido factura venda pagamento fatura vendita ordine fattura acquisto verkoop betaling bestelling "
    "sprzedaz platnosc zakup forsaljning betalning salg vanzare plata oplata prodazha pokupka",
}
"""How words begin that say what a row is, as patterns; what moves money first: `payment fee` is a fee."""
_PATTERNS: Final = {
    kind: re.compile(rf"\b(?:{'|'.join(stem.replace('-', ' ?') for stem in known.split())})")
    for kind, known in _STEMS.items()
}
_TYPES: Final = (
    "type typ kind art tipo tip rodzaj soort event concept concepto operation operacion operacao operazione "
    "movement movimiento vorgang "
    "direction"
)
_WORDS_AT_MOST: Final = 40


def row_kind(word: str) -> str:
    """Whether a row is a `sale`, `refund`, `movement` of money or `visit`; empty for other words."""
    text = " ".join(words_of(word)) or plain(word)
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.search(text)), "")


def kinds_of_rows(words: Iterable[str]) -> dict[str, list[str]]:
    """The words of a column by what they say of a row; under an empty text those that say nothing."""
    found: dict[str, list[str]] = {}
    for word in words:
        found.setdefault(row_kind(word), []).append(word)
    return found


def is_named_type(name: str) -> bool:
    """Whether a column's name says that it holds the types of its rows."""
    return not {*_TYPES.split()}.isdisjoint(words_of(name))


def names_movements(filled: pl.Series, *, is_named: bool) -> bool:
    """Whether a column holds the types of rows, of which some are movements of money or visits of a shop.

    Args:
        filled: Its cells that are not blank.
        is_named: Whether its name says that it holds types. Otherwise its words have to name sales as well,
            and most of them have to be known.
    """
    words = filled.unique()
    if not words.len() or words.len() > _WORDS_AT_MOST or words.len() * 2 > max(filled.len(), 3):
        return False
    found = kinds_of_rows(words.to_list())
    if not found.keys() & {"movement", "visit"}:
        return False
    known = words.len() - len(found.get("", []))
    return is_named or ("sale" in found and known * 2 > words.len())


_UNCERTAIN: Final = (
    "out outbound outgoing outflow debit dr sortie salida saida uscita uitgaand ausgang wyjscie vyhod void "
    "voided annulled reversed expense expenses ausgabe ausgaben gasto gastos despesa despesas depense "
    "depenses spesa spese wydatek wydatki raskhod gider pengeluaran vydaj"
)


def uncertain_kinds(name: str, filled: pl.Series) -> list[str]:
    """The words of a column with types by which rows may be no sales, or undo some."""
    words = filled.unique().sort()
    if not is_named_type(name) or words.len() > _WORDS_AT_MOST:
        return []
    return [word for word in words.to_list() if plain(word) in _UNCERTAIN.split()]


def refund_words(filled: pl.Series) -> Sequence[str]:
    """The words of a column that mean a return, where all of its words are known."""
    words = filled.unique().sort()
    if words.len() > _WORDS_AT_MOST:
        return []
    found = kinds_of_rows(words.to_list())
    return [] if "" in found else found.get("refund", [])
