"""What the words of a status mean in the systems that write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl

from pipeline.mapping.scaffold.cells import plain

STATES: Final[Mapping[str, str]] = {
    "complete": "completed complete closed paid done sale sold partiallyrefunded devolvidaparcialmente "
    "fulfilled delivered success successful succeeded finished finalized captured settled "
    "approved confirmed posted shippeddeliveredtobuyer resolved active valid archived ok "
    "abgeschlossen bezahlt geliefert ausgeliefert erledigt termine terminee paye payee "
    "livre livree validee completado completada pagado pagada entregado entregada concluido "
    "concluida pago entregue completato pagato consegnato afgerond betaald geleverd selesai "
    "lunas",
    "void": "void refund return refunded fullyrefunded returned retourne rembourse reembolsado devuelto "
    "devolvido erstattet rimborsato terugbetaald",
    "draft": "draft checkoutdraft parked saved quote basket entwurf brouillon borrador rascunho bozza "
    "concept",
    "partially_paid": "layby layaway partiallypaid deposit anzahlung acompte",
    "cancelled": "voided cancelled canceled aborted failed failure unavailable abandoned expired "
    "rejected declined denied trash abgebrochen storniert abgelehnt gescheitert annule "
    "annulee cancelado cancelada anulado anulada rechazado annullato geannuleerd batal "
    "dibatalkan",
    "order_open": "open pending pendingpayment authorized processing inprocess inprogress onhold hold "
    "new created invoiced awaiting awaitingpayment unpaid waiting preparing offen "
    "inbearbeitung encours enattente pendiente enproceso preparando pendente aperto "
    "inattesa openstaand",
}
"""The words of each state as they are after `plain`."""

LAST_STEP: Final = (
    "shipped",
    "shipping",
    "dispatched",
    "sent",
    "versendet",
    "versandt",
    "expedie",
    "expediee",
    "enviado",
    "spedito",
)
"""Words of a step before the last one where another word means delivered; otherwise the last step."""
_DELIVERED: Final = (
    "delivered",
    "completed",
    "complete",
    "geliefert",
    "entregado",
    "entregue",
    "livre",
    "livree",
)
_MEANING: Final = {word: state for state, known in STATES.items() for word in known.split()}
_WORDS_AT_MOST: Final = 25


def states(words: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Sort status words by meaning; the second result lists the unknown ones."""
    words = list(words)
    last = any(plain(word) in _DELIVERED for word in words)
    sorted_: dict[str, list[str]] = {}
    unknown = []
    for word in words:
        bare = plain(word)
        state = _MEANING.get(bare) or _MEANING.get(bare.removeprefix("wc"))
        if bare in LAST_STEP:
            state = "order_open" if last else "complete"
        if state:
            sorted_.setdefault(state, []).append(word)
        else:
            unknown.append(word)
    return sorted_, unknown


def has_few_words(filled: pl.Series) -> bool:
    """Whether a column holds a few different words."""
    return filled.n_unique() <= _WORDS_AT_MOST and filled.str.contains(r"\p{L}").all()


def is_status(filled: pl.Series) -> bool:
    """Whether a column holds few words, and one of them is a known status."""
    words = filled.unique()
    return words.len() <= _WORDS_AT_MOST and bool(states(words.to_list())[0])
