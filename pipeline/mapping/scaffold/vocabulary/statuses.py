"""What the words of a status mean in the systems that write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl

from pipeline.mapping.scaffold.vocabulary.cells import plain, words_of

_PARTLY_REFUNDED: Final = (
    "partiallyrefunded partlyrefunded partialrefund devolvidaparcialmente teilweiseerstattet"
)
STATES: Final[Mapping[str, str]] = {
    "complete": f"completed complete processed closed paid done sale sold {_PARTLY_REFUNDED} "
    "fulfilled delivered success successful succeeded finished finalized captured settled "
    "approved confirmed posted resolved active valid archived ok successed collected pickedup claimed "
    "zrealizowane zrealizowano zakonczone oplacone dostarczone betald levererad slutford betalt leveret "
    "levert paiementaccepte paiementeffectue remisenligne pagoaceptado pagamentoaccettato gennemfort "
    "fullfort pagata consegnata atendido finalizado terminado facturado faturado cerrado "
    "abgeschlossen bezahlt geliefert ausgeliefert erledigt termine terminee paye payee "
    "livre livree validee completado completada pagado pagada entregado entregada concluido "
    "concluida pago entregue completato pagato consegnato afgerond betaald geleverd selesai "
    "lunas finalizat finalizata livrat platit oplachen oplacheno vypolnen vypolneno zavershen zaversheno "
    "aprovado aprovada aprobado aprobada recibido recibida recebido recebida realizado realizada vendido "
    "vendida procesado procesada processado processada aceptado aceptada aceito exitoso exitosa efetuado "
    "valide validee validado validada cumplido zugestellt voltooid betaaldvolledig tamamlandi teslimedildi "
    "odendi diterima terkirim dibayar dokonceno dokoncena vyrizeno vyrizena zaplaceno zaplacena "
    "doruceno dorucena "
    "hoanthanh dahoanthanh thanhcong dagiao dagiaohang giaohangthanhcong dathanhtoan dadonhan berhasil "
    "sukses "
    "tamamlandi teslimedildi odemealindi onaylandi zrealizowana zakonczona dostarczona oplacona zaplacona "
    "zakonczony oplacony dostarczony zrealizowany vypolnena zavershena oplachena dostavlena vydan polucen "
    "completada finalizada terminada cobrado cobrada evaso evasa completata conclusa concluso "
    "finalisee finalise reglee regle effectue effectuee abgerechnet fertig",
    "void": "void refund return refunded fullyrefunded returned retourne rembourse reembolsado devuelto "
    "devolvido erstattet rimborsato terugbetaald "
    "devuelta devolvida devolucion devolucao reembolsada reembolso retornado retourniert zurueckgegeben "
    "rueckerstattet iade iadeedildi dikembalikan "
    "vraceno vracena refundovano tralai trahang dahoantien hoantien hoanhang datrahang geriodendi diretur "
    "retur zwrocona zwrocony vozvrat vozvrashchen vozvrashchena resa reso restituito restituita retournee "
    "returneddamaged returnedtoseller returnedtobuyer zwrocone zwrot returnerad returneret refunderet "
    "chargeback",
    "draft": "draft checkoutdraft parked saved quote basket entwurf brouillon borrador rascunho bozza "
    "concept",
    "partially_paid": "layby layaway partiallypaid deposit anzahlung acompte",
    "cancelled": "voided cancelled canceled aborted failed failure unavailable abandoned expired "
    "rejected declined denied trash abgebrochen storniert abgelehnt gescheitert annule "
    "annulee cancelado cancelada anulado anulada rechazado annullato geannuleerd batal "
    "dibatalkan lost notpaid anulowane anulowano avbruten avbruten makulerad annulleret kansellert annulla "
    "annullata nopagado cancelar perdido refuse refusee recusado recusada rechazada reprovado negado "
    "fallido fallida falhou falha abandonado expirado "
    "zruseno zrusena stornovano zamitnuto neuspesne huy dahuy bihuy huydon thatbai khongthanhcong "
    "iptaledilen "
    "basarisiz reddedildi gagal ditolak dibatalkan kedaluwarsa anulowana anulowany odrzucona odrzucony "
    "nieudana "
    "otmenena otmenen otklonen otklonena neuspeshno fallita fallito rifiutato rifiutata scaduto scaduta "
    "echouee "
    "echoue annulees fehlgeschlagen zurueckgewiesen "
    "expirada iptal iptaledildi gagal anulat anulata otmenen otmeneno",
    "order_open": "open pending pendingpayment authorized onhold hold "
    "new created awaiting awaitingpayment unpaid waiting offen "
    "enattente pendiente pendente aperto aberto aberta emaberto abierto abierta aguardando "
    "aguardandopagamento esperando enespera porpagar porcobrar impaye impayee "
    "inattesa openstaand nowe oczekujace ny "
    "placed backordered delayed noua novyi bekliyor menunggu overdue "
    "ceka cekajici nova novy vyrizujese nezaplaceno choxacnhan chothanhtoan chuathanhtoan dangcho cho "
    "beklemede "
    "odemebekliyor menunggupembayaran belumlunas belumbayar nowa nowy oczekujaca oczekujacy nieoplacona "
    "nieoplacony novaya ozhidaet ozhidaetoplaty neoplachen neoplachena dapagare nonpagato aguardandopago "
    "nonpayee nonpaye offenstehend unbezahlt",
}
"""The words of each state as they are after `plain`."""

_PREPARED: Final = (
    "invoiced packed packing processing inprocess inprogress preparing inbearbeitung encours "
    "encoursdetraitement enproceso "
    "preparando inbehandeling wtrakcierealizacji pagaende inprocesare vobrabotke procesando "
    "emprocessamento emandamento encurso inlavorazione hazirlaniyor diproses beingprepared "
    "dangxuly zpracovavase sedangdiproses dikemas wrealizacji przetwarzane obrabatyvaetsya sobran "
    "inelaborazione "
    "readyforpickup readytoship readyforcollection readyforshipping "
    "enpreparation enpreparacion empreparacao hazirlaniyor"
)
"""Words for sales that are being prepared: shops mostly prepare what is paid for."""
_SHIPPED: Final = (
    "shipped shipping dispatched despatched sent intransit outfordelivery versendet versandt verschickt "
    "unterwegs expedie expediee enviado enviada encamino despachado postado spedito spedita inviato "
    "inviata verzonden wyslane wyslano skickad sendt afsendt expediat trimis otpravlen otpravleno "
    "emtransito entransito entransit emrota ontheway saiuparaentrega enruta enreparto encamino despachada "
    "enlivraison inconsegna onderweg dikirim kargoda kargoyaverildi partiallyshipped "
    "odeslano odeslana danggiao danggiaohang dangvanchuyen wyslana wyslany vputi dostavlyaetsya otpravlena "
    "sedangdikirim envoye envoyee"
)
"""Words for goods that are on their way."""
_DELIVERED: Final = (
    "delivered fulfilled geliefert ausgeliefert entregado entregada entregue livre livree consegnato "
    "consegnata geleverd dostarczone levererad levert leveret livrat dostavlen "
    "dostavlena doruceno dorucena dagiao dagiaohang teslimedildi dostarczona dostarczony terkirim"
)
_FULFILMENT: Final = frozenset(f"{_SHIPPED} {_DELIVERED}".split())
"""Words that do not say whether goods are paid for."""
FLAGS: Final[Mapping[str, str]] = {
    "true": "void voided isvoid isvoided cancelled canceled iscancelled iscanceled deleted isdeleted draft "
    "isdraft test istest training istraining anulado anulada cancelado cancelada storniert storno annule "
    "annullato",
    "perhaps": "refunded isrefunded returned isreturned return isreturn returnflag devuelto devolvido "
    "rembourse reembolsado retourne estretourne retournee retoure retourniert istretoure "
    "devolucion devolucao reso zwrot zwrocono zwrocone vraceno iade iadeedildi iademi retur "
    "vozvrat tralai refundflag refund",
    "false": "completed iscompleted complete iscomplete finished isfinished finalized isfinalized paid "
    "ispaid pagado pagada pago bezahlt paye pagato confirmed isconfirmed",
}
"""Names of columns with yes or no, by the answer with which a sale does not count, or `perhaps` with yes."""
ENDED: Final = (
    "cancelledat canceledat cancelledon canceledon canceldate cancellationdate cancelleddate datecancelled "
    "datacancelamento datadecancelamento fechacancelacion fechadecancelacion dateannulation storniertam "
    "voidedat deletedat"
)
"""Names of columns with the date of a sale's end."""
_ANSWERS: Final = {
    "true": "true t yes y 1 1.0 si sim ja oui tak ano evet ya da co",
    "false": "false f no n 0 0.0 nao nein non nie ne hayir tidak net khong",
}


def answers_out(name: str, filled: pl.Series) -> list[str]:
    """The answers of a column with yes or no with which a sale does not count; empty for another column."""
    bare = plain(name.rsplit(".", maxsplit=1)[-1])
    against = next((answer for answer, names in FLAGS.items() if bare in names.split()), "")
    words = filled.unique().sort().to_list() if against else []
    of = {
        answer: [w for w in words if {w.lower(), plain(w)} & {*known.split()}]
        for answer, known in _ANSWERS.items()
    }
    known = len(of["true"]) + len(of["false"]) == len(words)
    return of["true" if against == "perhaps" else against] if against and known else []


def is_perhaps_sold(name: str) -> bool:
    """Whether a column with yes or no says what was sold and came back, which some count as sold."""
    return plain(name) in FLAGS["perhaps"].split()


_MEANING: Final = {
    **dict.fromkeys(_FULFILMENT, "complete"),
    **dict.fromkeys(_PREPARED.split(), "order_open"),
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


def says_refunded(word: str) -> bool:
    """Whether a status says that a sale was paid back, all of it or in part."""
    return is_void(word) or plain(word).removeprefix("wc") in _PARTLY_REFUNDED.split()


def is_void(word: str) -> bool:
    """Whether a status says that all of a sale was paid back, or came back."""
    return _meaning(word) == "void"


def is_prepared(word: str) -> bool:
    """Whether a status says that a sale is being prepared, which most are that are paid, but not all."""
    return plain(word).removeprefix("wc") in _PREPARED.split()


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


def is_code(filled: pl.Series) -> bool:
    """Whether a column holds a few different whole numbers."""
    return 1 < filled.n_unique() <= _WORDS_AT_MOST and filled.str.contains(r"^-?\d{1,4}$").all()


def has_few_words(filled: pl.Series) -> bool:
    """Whether a column holds a few different words."""
    return filled.n_unique() <= _WORDS_AT_MOST and filled.str.contains(r"\p{L}").all()


def is_status(filled: pl.Series) -> bool:
    """Whether a column holds few words, and at least half of them are known statuses."""
    words = filled.unique()
    return words.len() <= _WORDS_AT_MOST and len(states(words.to_list())[1]) * 2 <= words.len()
