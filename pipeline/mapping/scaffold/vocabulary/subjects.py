"""What a table is about by the words of its names: sales, or records with amounts that are none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pipeline.mapping.scaffold.vocabulary.cells import words_of

_SALES: Final = (
    "sale sales sold selling order orders invoice invoices receipt receipts ticket basket cart checkout "
    "purchase purchases transaction transactions retail shop store pos till item items product products "
    "payment lineitem buyer qty quantity price total "
    "verkauf verkaeufe verkaufe bestellung bestellungen rechnung beleg bon kasse umsatz umsaetze "
    "vente ventes commande commandes facture recu caisse "
    "venta ventas pedido pedidos factura boleta recibo compra compras tienda "
    "venda vendas fatura cupom loja nota "
    "vendita vendite ordine ordini scontrino fattura acquisto negozio "
    "verkoop bestelling factuur bonnen kassa sprzedaz zamowienie zamowienia paragon faktura salg ordre "
    "kvitto satis siparis fis penjualan pesanan transaksi struk hoadon donhang "
    "prodazhi prodaja zakaz chek objednavka uctenka prodej comanda vanzari"
)
"""Words for sales and for what only they have, as they are after `plain`."""
_OTHERS: Final = (
    "loan loans lender borrower mortgage installment installments interest claim claims policy policies "
    "insurance insured expense expenses salary salaries payroll wage wages patient patients doctor "
    "treatment fraud fraudulent merchant mcc ticker shares portfolio driver rider passenger trip trips "
    "fare ride rides donor donation donations bedrooms sqft sqm review reviews movement movements "
    "kredit darlehen versicherung ausgabe ausgaben gehalt lohn patient spende "
    "emprunt assurance sinistre depense depenses salaire "
    "prestamo poliza salario paciente donacion movimiento movimientos "
    "emprestimo apolice despesa despesas doacao "
    "prestito polizza stipendio paziente donazione "
    "lening verzekering uitgave uitgaven salaris kredyt wydatek wydatki gider maas pengeluaran gaji"
)
"""Words for records with a number, a date and an amount that are no sales of a shop."""

_OF_BOTH: Final = "transaction transactions payment transaksi price total item items product bill purchase"
"""Words among those for sales that names of other records have as well."""


def numbers_orders(names: Iterable[str]) -> bool:
    """Whether a name has a word for sales that hardly any other record has."""
    return bool(_named(names, {*_SALES.split()} - {*_OF_BOTH.split()}))


def names_sales(names: Iterable[str]) -> bool:
    """Whether a name has a word for sales or for what only they have."""
    return bool(_named(names, {*_SALES.split()}))


def names_others(names: Iterable[str]) -> str:
    """The first name with a word for records that are no sales; empty where none has one."""
    return _named(names, {*_OTHERS.split()})


def _named(names: Iterable[str], words: set[str]) -> str:
    """The first name with one of the words; empty where none has one."""
    return next((name for name in names if words & {*words_of(name)}), "")
