"""What the words of a status mean in the systems that write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl

from pipeline.mapping.scaffold.vocabulary.cells import plain, words_of

STATES: Final[Mapping[str, str]] = {
    "complete": "completed complete processed closed paid done sale sold partiallyrefunded "
    "devolvidaparcialmente "
    "fulfilled delivered success successful succeeded finished finalized captured settled "
    "approved confirmed posted resolved active valid archived ok successed collected pickedup claimed "
    "zrealizowane zrealizowano zakonczone oplacone dostarczone betald levererad slutford betalt leveret "
    "levert paiementaccepte paiementeffectue remisenligne pagoaceptado pagamentoaccettato gennemfort "
    "fullfort pagata consegnata atendido finalizado terminado facturado faturado cerrado "
    "abgeschlossen bezahlt geliefert ausgeliefert erledigt termine terminee paye payee "
    "livre livree validee completado completada pagado pagada entregado entregada concluido "
    "concluida pago entregue completato pagato consegnato afgerond betaald geleverd selesai "
    "lunas finalizat finalizata livrat platit oplachen oplacheno vypolnen vypolneno zavershen zaversheno",
    "void": "void refund return refunded fullyrefunded returned retourne rembourse reembolsado devuelto "
    "devolvido erstattet rimborsato terugbetaald "
    "returneddamaged returnedtoseller returnedtobuyer zwrocone zwrot returnerad returneret refunderet "
    "chargeback",
    "draft": "draft checkoutdraft parked saved quote basket entwurf brouillon borrador rascunho bozza "
    "concept",
    "partially_paid": "layby layaway partiallypaid deposit anzahlung acompte",
    "cancelled": "voided cancelled canceled aborted failed failure unavailable abandoned expired "
    "rejected declined denied trash abgebrochen storniert abgelehnt gescheitert annule "
    "annulee cancelado cancelada anulado anulada rechazado annullato geannuleerd batal "
    "dibatalkan lost notpaid anulowane anulowano avbruten avbruten makulerad annulleret kansellert annulla "
    "annullata nopagado devuelta cancelar perdido anulat anulata otmenen otmeneno",
    "order_open": "open pending pendingpayment authorized processing inprocess inprogress onhold hold "
    "new created invoiced awaiting awaitingpayment unpaid waiting preparing offen "
    "inbearbeitung encours enattente pendiente enproceso preparando pendente aperto "
    "inattesa openstaand inbehandeling nowe oczekujace wtrakcierealizacji ny pagaende "
    "placed packed packing backordered delayed noua inprocesare novyi vobrabotke",
}
"""The words of each state as they are after `plain`."""

_SHIPPED: Final = (
    "shipped shipping dispatched despatched sent intransit outfordelivery versendet versandt verschickt "
    "unterwegs expedie expediee enviado enviada encamino despachado postado spedito spedita inviato "
    "inviata verzonden wyslane wyslano skickad sendt afsendt expediat trimis otpravlen otpravleno"
)
"""Words for goods that are on their way."""
_DELIVERED: Final = (
    "delivered fulfilled geliefert ausgeliefert entregado entregada entregue livre livree consegnato "
    "consegnata geleverd dostarczone levererad levert leveret livrat dostavlen"
)
_FULFILMENT: Final = frozenset(f"{_SHIPPED} {_DELIVERED}".split())
"""Words that do not say whether goods are paid for."""
_MEANING: Final = {
    **dict.fromkeys(_FULFILMENT, "complete"),
    **{word: state for state, known in STATES.items() for word in known.split()},
}
_WORDS_AT_MOST: Final = 25
_NOT: Final = frozenset(["not", "no", "non", "nicht", "nie", "ej", "niet", "nao", "kein"])
_FIRST: Final = ("cancelled", "void", "partially_paid", "draft", "order_open", "complete")
"""Which state a sentence with the words of several states means."""


def states(words: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Sort status words by meaning; the second result lists the unknown ones."""
    sorted_: dict[str, list[str]] = {}
    unknown = []
    for word in words:
        if state := _meaning(word):
            sorted_.setdefault(state, []).append(word)
        else:
            unknown.append(word)
    return sorted_, unknown


def is_sentence(word: str) -> bool:
    """Whether the meaning of a status follows only from words in it."""
    bare = plain(word)
    return bare not in _MEANING and bare.removeprefix("wc") not in _MEANING


def is_fulfilment(word: str) -> bool:
    """Whether a status says that goods were shipped or delivered, which is not that they are paid for."""
    parts = {plain(word).removeprefix("wc"), *words_of(word)}
    return not parts.isdisjoint(_FULFILMENT)


def _meaning(word: str) -> str:
    """The state that a status means; empty where that is not known."""
    bare = plain(word)
    if not is_sentence(word):
        return _MEANING.get(bare) or _MEANING[bare.removeprefix("wc")]
    parts = words_of(word)
    if _NOT & {*parts}:
        return ""
    found = {
        _MEANING.get(part) or _MEANING[part.removeprefix("wc")] for part in parts if not is_sentence(part)
    }
    return next((state for state in _FIRST if state in found), "")


def has_few_words(filled: pl.Series) -> bool:
    """Whether a column holds a few different words."""
    return filled.n_unique() <= _WORDS_AT_MOST and filled.str.contains(r"\p{L}").all()


def is_status(filled: pl.Series) -> bool:
    """Whether a column holds few words, and at least half of them are known statuses."""
    words = filled.unique()
    return words.len() <= _WORDS_AT_MOST and len(states(words.to_list())[1]) * 2 <= words.len()
