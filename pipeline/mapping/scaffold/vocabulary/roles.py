"""The evidence for each role that a column can have: its names, what its cells hold, and what speaks against.

To add a role, a word or a language, add it to `ROLES`; the words of statuses are in `statuses`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline.mapping.functions.zones import zone_name
from pipeline.mapping.scaffold.vocabulary.cells import EMAIL, MOSTLY, are_names, is_numeric, plain, share
from pipeline.mapping.scaffold.vocabulary.dates import clock_formats, read_dates
from pipeline.mapping.scaffold.vocabulary.row_types import refund_words
from pipeline.mapping.scaffold.vocabulary.statuses import has_few_words, is_status

Predicate = Callable[[pl.Series], bool]


@dataclass(frozen=True)
class Role:
    """The evidence for one role.

    Attributes:
        names: Names as they are after `plain`: lower-case ASCII letters and digits. English, German,
            French, Spanish, Portuguese, Italian, Dutch and others, and the place of each: 0 for the
            likeliest, below 1 for the others.
        fits: Whether cells that are not blank can have the role; those of a blank column cannot.
        inside: How many words of a longer name have to be one of the names (`Order total (EUR)`); 0 where
            only the whole name counts.
        against: Words of a name with which the column has another role.
    """

    names: Mapping[str, float]
    fits: Predicate
    inside: int = 1
    against: frozenset[str] = frozenset()


def _role(names: str, fits: Predicate, *, inside: int = 1, against: str = "") -> Role:
    known = [*dict.fromkeys(names.split())]
    places = {name: place / len(known) for place, name in enumerate(known)}
    return Role(places, fits, inside, frozenset(against.split()))


_MARKS: Final = (
    *("id", "no", "number", "nr", "num", "nummer", "code", "ref", "numero", "key", "numer", "codigo", "cod"),
    *("numar", "nomer", "cislo", "so", "ma", "kode", "nomor", "kodu", "kod"),
)


def _numbers_of(things: str) -> str:
    """The names of the numbers of things: `orderid`, `idorder`, `order`; those of the first things first.

    A thing with a star is no name of a number by itself.
    """
    named = [
        [
            *(bare + mark for mark in _MARKS),
            *(mark + bare for mark in _MARKS),
            *([bare] if bare == thing else []),
        ]
        for thing in dict.fromkeys(things.split())
        for bare in [thing.removesuffix("*")]
    ]
    return " ".join(name for names in named for name in names)


def _paid_amounts(*languages: str) -> str:
    """The names of what was paid: a word for it alone, and before or after one for an amount."""
    pairs = [[part.split() for part in language.split(":")] for language in languages]
    alone = [word for _, paid in pairs for word in paid]
    both = [
        name for amounts, paid in pairs for a in amounts for word in paid for name in (a + word, word + a)
    ]
    return " ".join([*alone, *both])


def _is_date(filled: pl.Series) -> bool:
    found = read_dates(filled, spreadsheet=True)
    return found is not None and found.read > MOSTLY / 2


def _is_text(filled: pl.Series) -> bool:
    return share(filled, r"\p{L}") > MOSTLY / 2


def _is_any(_filled: pl.Series) -> bool:
    return True


def _is_code(filled: pl.Series) -> bool:
    return filled.n_unique() > 1 or filled.len() < 3


def _is_currency(filled: pl.Series) -> bool:
    return share(filled, r"^[A-Za-z]{3}$") > MOSTLY and filled.n_unique() < 20


def _is_zone(filled: pl.Series) -> bool:
    return zone_name(str(filled[0])) is not None


def _is_email(filled: pl.Series) -> bool:
    return share(filled, EMAIL) > MOSTLY / 2


def _is_card(filled: pl.Series) -> bool:
    return share(filled, r"\d{3}") > MOSTLY / 2


_OTHER_DATES: Final = (
    "ship shipped shipping dispatch delivery delivered deliver due paid birth dob updated modified "
    "cancelled canceled fulfilled estimated expected join joined registered signup end until expiry "
    "return returned liefer geburt fallig faellig hire hired"
)
_WAYS: Final = (
    "forma metodo metodos modo modalita tipo typ mode methode metoda zpusob yontem phuongthuc cara "
)
"""Words for the way in which something is done, as with `FormaEnvio`: a way of shipping, and no amount."""
NO_AMOUNT: Final = (
    "id no number code name pct percent percentage rate count date method type status currency rank "
    "key territory region channel "
    + _WAYS
    + "rating cost costs cogs profit margin fee fees commission balance stock inventory target budget "
    "expense points income before previous last clv lifetime spent visits average avg mean median "
    "kar kari kazanc gewinn rohertrag benefice beneficio beneficios lucro guadagno utile zysk marza "
    "marge laba "
    "keuntungan loinhuan pribyl zisk ganancia profitto maliyet kosten cout couts costo costos custo "
    "koszt koszty hpp modal giavon sebestoimost naklady "
)
_PERSON: Final = "name phone email city state country address type segment age gender group note since"

_OTHER_STATUS: Final = (
    "ship shipping shipment billing fulfillment fulfilment delivery customer city address marital cvc "
    "avs lineitem item void dispute employment member membership loyalty"
)

ROLES: Final[Mapping[str, Role]] = {
    "transacted_at": _role(
        "transactedat saledatetime transactiondatetime datetime saledate salesdate transactiondate "
        "transdate transactiontime orderdate invoicedate createdat created createdutc createdon soldat "
        "dateofsale orderpurchasetimestamp purchasedate dateofpurchase orderedat dateordered "
        "datecreated ordertime timestamp date day sold opened when billdate receiptdate ticketdate "
        "dateoftransaction verkaufsdatum bestelldatum belegdatum buchungsdatum rechnungsdatum bondatum "
        "datum zeitpunkt datevente datecommande datefacture fechaventa fechapedido fechahora fecha "
        "datavendita dataora datavenda datapedido data datumtijd verkoopdatum orderdatum tanggal "
        "tarih docdate postingdate "
        "sentdate datasprzedazy datazamowienia datawystawienia datakop kopdatum bestilt orderdato "
        "dato datatransakcji "
        "datadavenda datadelpedido fechadeventa fechadecompra datedevente datedecommande datecreation "
        "dataemissao verkauftam waktupesanandibuat datadecriacaodopedido dateadd dateorder createdate "
        "creationdate createddate "
        "datemission fechaemision closedat completedat dateandtime paymentdate paidat created_time "
        "createdtime dataprodazhi datazakaza datavanzarii datacomenzii databon "
        "datumobjednavky datumprodeje datumnakupu datumtransakce ngay ngayban ngaymua ngaydathang ngaylap "
        "ngayhoadon ngaygiaodich tarihsaat satistarihi siparistarihi islemtarihi faturatarihi fistarihi "
        "tanggaltransaksi tanggalpenjualan tanggalpesanan tgl tgltransaksi datatransakcii datapokupki "
        "datadellordine datavendita dataacquisto dataordine dataprodaji",
        _is_date,
        against=_OTHER_DATES,
    ),
    "time": _role(
        "saletime salestime transactiontime ordertime time timeofsale timeofday uhrzeit zeit heure hora "
        "ora tijd jam saat clock openedtime postingtime horario horavenda horaventa godzina "
        "klokkeslett tid kl vremya",
        lambda filled: bool(clock_formats(filled)),
        against="zone ship delivery",
    ),
    "timezone": _role("timezone tz zeitzone fuseauhoraire zonahoraria", _is_zone),
    "key": _role(
        _numbers_of(
            "receipt transaction transactions* trans* txn invoice sale sales* check order orders* "
            "ticket bill purchaseorder po* "
            "basket document doc purchase* charge* docket cart* booking cheque trx tx* salesrecord* "
            "beleg bon rechnung rechnungs* bestellung bestell* auftrag auftrags* vorgang vorgangs* verkauf* "
            "verkaufs* kassenbon facture commande cmd vente recu venta ventas* orden factura pedido folio "
            "recibo boleta venda vendas* nota fatura cupom scontrino ordine fattura vendita ricevuta "
            "factuur bestelling verkoop bonnen* paragon paragonu zamowienie zamowienia* faktura faktury "
            "kvitto kvittering kvitt* ordre bestallning transaksi transaccion transacao transazione "
            "transaktion transaktions* pesanan penjualan* satis siparis fis doctransaction* voucher* "
            "comanda comenzii* bonfiscal chek cheka* zakaz zakaza* verkaufsprotokoll* increment* "
            "posreference "
            "objednavka* objednavky objednavek* uctenka uctenky doklad dokladu faktur nota struk trankaksi* "
            "hoadon donhang* don* giaodich* fis fatura siparis islem* satis "
            "tranzakcii* tranzaktsii* transakcii* "
            "prodazhi pokupki* kvitantsiya chek cheka paragonu rachunek rachunku transakcja transakcji* "
            "compra compra* fattura scontrino acquisto acquisto* pedidos*"
        )
        + " name id no number nr num numero "
        + _numbers_of("payment*"),
        _is_code,
        against="customer client product item line row sku article store shop user staff employee category "
        "phone zip postal serial tracking account kunde artikel produkt cliente producto produto vendor "
        "supplier seller buyer date time total amount value quantity qty price status type method count "
        "name shipping tax detail year month channel source priority",
        inside=2,
    ),
    "store": _role(
        "storecode storeid storeno storename store shopid shopname shop branchid branchname branch "
        "locationid location outlet filialnummer filialnr filiale magasin boutique tienda sucursal loja "
        "negozio winkel vestiging salesoutletid storelocation magazin",
        _is_any,
        against="type city state country region area size",
    ),
    "register": _role(
        "registerid register tillid till terminalid terminal posid pos kassennr kasse kassenid caisse "
        "caja caixa cassa kassa devicename",
        _is_any,
    ),
    "currency": _role(
        "currencycode currency waehrung wahrung devise moneda moeda valuta fiatticker valyuta", _is_currency
    ),
    "email": _role(
        "customeremail emailaddress fromemailaddress email emailid mail kundenemail courriel "
        "correoelectronico correo buyeremail contactemail epost customer client buyer kunde cliente klant "
        "contact user login username shopper payer kundin kontakt klient kund",
        _is_email,
    ),
    "card": _role(
        "loyaltycard loyaltyno loyaltynumber loyaltyid membercard memberno membernumber membershipno "
        "membershipid cardno kundenkarte cartefidelite tarjetafidelidad cartaofidelidade tessera "
        "klantenkaart",
        _is_card,
    ),
    "customer": _role(
        "customerid customerno customernumber idcliente idclient codcliente idkunde idpelanggan "
        "kodepelanggan "
        "idcustomer kodecustomer musteriid musterino makhachhang makh idzakaznika zakaznikid idklienta "
        "klientid "
        "numerklienta idpokupatelya idkliyenta kodcliente clienteid customernumber custid customercode "
        "customerref customerkey clientid "
        "clientno partnerid memberid buyerid buyeruserid shopperid kundennummer kundennr kundenid kundeid "
        "numeroclient clienteid idcliente customer client buyer kunde cliente klantnummer klant "
        "pokupatel klient userid",
        lambda filled: not _is_email(filled) and not are_names(filled),
        against=_PERSON,
    ),
    "phone": _role(
        "customerphone phone phonenumber mobile mobilenumber telefon handy telephone telefono celular "
        "telefone telefoon contactnumber",
        lambda filled: share(filled, r"^[+(]?\d[\d ()./-]{5,}$") > MOSTLY / 2,
    ),
    "staff": _role(
        "staffcode staffid staff cashierid cashiername cashier employeeid employee salesperson salesrep "
        "server operator mitarbeiter verkaufer verkaeufer kassierer kassiererin bediener vendeur "
        "caissier vendedor cajero cassiere medewerker",
        _is_any,
        against="email phone name",
    ),
    "status": _role(
        "salestatus transactionstatus orderstatus financialstatus paymentstatus status orderstate "
        "belegstatus bestellstatus statut situacao statusorder statuspesanan etat zustand tilstand durum "
        "stan statuszamowienia ordrestatus orderpaymentstate paymentstate deliverystatus statuspagamento "
        "statuspedido estadopedido estadoventa estadopago",
        has_few_words,
        against=_OTHER_STATUS,
    ),
    "state": _role("state estado stato", is_status, against=_OTHER_STATUS),
    "sale_kind": _role(
        "receipttype eventtype transactiontype saletype documenttype doctype invoicetype ordertype type "
        "kind art belegart vorgangsart typedocument tipo tipodocumento isreturn return returned refund",
        lambda filled: bool(refund_words(filled)),
        inside=0,
    ),
    "tender": _role(
        "tendertype tender paymentmethod paymentmode paymenttype paymentname payment paytype paidwith "
        "paymentoption cardbrand zahlungsart zahlungsweise zahlungsmittel zahlart modepaiement "
        "moyenpaiement modedepaiement formapago formadepago mediopago metodopago metododepago "
        "metodopagamento formapagamento betaalwijze cashtype metodebayar formaplatnosci sposobplatnosci "
        "betalsatt betalningssatt betalingsmetode formadepagamento mododepagamento tipopago tipopagamento "
        "odemeyontemi zahlungsmethode metodepembayaran betalningsmetod zahlmethode reglement "
        "paymentmethodtitle",
        _is_text,
        against="status id date reference terms amount value",
    ),
    "tender_amount": _role(
        "cash card creditcard debitcard visa mastercard amex voucher vouchers giftcard giftcards giftvoucher "
        "cheque eftpos paypal banktransfer wallet storecredit bar barzahlung ec eckarte girocard karte "
        "kreditkarte gutschein uberweisung especes cb carte cartebancaire virement efectivo tarjeta "
        "transferencia vale contanti bancomat carta dinheiro cartao pix contant pin pinpas kadobon gotowka "
        "karta kontant kort othertender",
        is_numeric,
        against="fee fees tip tips id no number type name discount count change rounding sale sales sold",
    ),
    "name": _role(
        "description productname itemname itemdescription lineitemname articlename menuitem title "
        "producttitle productdetail productdescription item product itempurchased coffeename drinkname "
        "modelname artikelbezeichnung bezeichnung artikelname artikel produkt designation libelle "
        "produit article descripcion nombreproducto producto articulo descricao nomeproduto produto "
        "descrizione prodotto articolo omschrijving namabarang namaproduk nombre nazwatowaru "
        "nazwaproduktu nazwa "
        "nazevproduktu nazevpolozky nazevzbozi nazev zbozi produkt polozka tensanpham sanpham tenhang "
        "tenhanghoa mathang hanghoa urunadi urun urunismi barang detailproduk namaitem namamenu menu "
        "denumireprodus denumire denumirearticol produs naimenovanie naimenovanietovara nazvanie "
        "tovar towar produkty benamning produktnamn varunamn vare varenavn beskrivelse lineitem dscription "
        "itemtitle angebotstitel titulodoanuncio fullproductname listingtitle coffeetype menuitemname dish "
        "servicename goods stockitem merchandise name",
        _is_text,
        against="category line group type family subcategory customer rating size full first last user buyer "
        "ship shipping billing cardholder account contact company client cashier staff employee vendor "
        "seller city store number items no qty count",
    ),
    "sku": _role(
        "sku lineitemsku productsku stockcode productcode itemcode articlenumber articleno articlenr "
        "artikelnummer artikelnr artnr productid itemid prodid barcode ean upc reference referencia "
        "productoid produtoid idproduto produitid codeproduit idproducto codigo codice ref "
        "partnumber partno modelnumber itemnumber itemno articleid artikelid idbarang kodebarang "
        "kodeitem masanpham masp mahang urunid urunkodu stokkodu idproduktu kodproduktu "
        "symbol kodproduktu idzbozi codiceprodotto idprodotto prodottoid articoloid idarticolo idtovara "
        "kodtovara artikul kodeproduk indeks artikel item product article producto produit articolo produto",
        _is_any,
        against="customer order category payment line name transaction",
    ),
    "line_no": _role(
        "lineno linenumber lineid lineitemid orderlineid orderlinenumber orderlineno orderitemid "
        "orderdetailid orderdetailsid detailid itemselectionid rowid saleitemid saledetailid line pos "
        "position positionsnr posnr zeilennr zeile ligne linea riga regel seq sequence detalleid",
        _is_any,
        against="status name type",
    ),
    "department": _role(
        "department category productcategory productcategoryname itemcategory categoryname productline "
        "producttype warengruppe kategorie categorie categoria afdeling menugroup",
        _is_text,
        against="customer id",
    ),
    "record_type": _role(
        "linetype rowtype recordtype entrytype satzart typeligne tipolinea", _is_text, inside=0
    ),
    # ── Numbers ──
    "quantity": _role(
        "quantity qty quantiy lineitemquantity units unitssold unitsold quantityordered quantitysold "
        "orderquantity orderqty itemqty transactionqty salesqty pieces menge anzahl stuckzahl stueck "
        "stuck quantite qte cantidad unidades quantidade qtde qtd quantita aantal numberofitems "
        "noofitems qtysold jumlah adet count pcs antal ilosc kolicina quantitysold quantitypurchased "
        "purchasedquantity "
        "numberofunits itemssold itemcount transactionquantity pizzaquantity volume cantidadvendida "
        "kuantitas cantitate kolichestvo kolvo "
        "unitquantity totalunits mnozstvi pocetkusu pocet kusu kusy soluong sl miktar adetsayisi satisadedi "
        "jumlahbarang jumlahterjual jumlahproduk banyakpenjualan banyaknya qtyterjual terjual "
        "iloscsztuk sztuk "
        "quantitavenduta quantitevendue quantidadevendida cantidadvendida unidadesvendidas kolichestvoshtuk",
        is_numeric,
        against="discount returned refunded stock available total reorder min max category",
    ),
    "price": _role(
        "unitprice priceperunit priceeach pricesell sellprice sellingprice salesprice saleprice "
        "lineitemprice itemprice priceunit actualprice itemcost price einzelpreis stuckpreis "
        "verkaufspreis preis prixunitaire pu puttc prix preciounitario precio precounitario "
        "valorunitario preco prezzounitario prezzo stukprijs prijs hargasatuan harga rate unitcostprice "
        "cenajednostkowa cena apris pris enhetspris stykpris birimfiyat unitamount unitvalue priceperitem "
        "priceperpiece retailprice retail productprice itemrate mrprate pvu precioventa "
        "pretunitar pret cenazaedinicu soldfor verkauftfur hargasetelahdiskon dealprice precoacordado "
        "cenazakus jednotkovacena cenazajednotku dongia giaban gia fiyat birimfiyati satisfiyati hargajual "
        "hargaproduk hargabarang cenazasztuke cenaszt cenasprzedazy cenazashtuku tsena tsenazaedinitsu "
        "cenazaed prezzodivendita precodevenda preciodeventa prixdevente prixdeventeunitaire pricepercup",
        is_numeric,
        against="total discount cost tax shipping range category id level exchange rating before original "
        "compare 100g 100ml kg gram ml litre liter",
    ),
    "list_price": _role(
        "rrp mrp msrp listprice originalprice retailprice regularprice lineitemcompareatprice "
        "compareatprice uvp listenpreis prixpublic pvp",
        is_numeric,
    ),
    "total": _role(
        "pricesubtotalincl totalcharged saletotal salestotal totalsale totalsales receipttotal ordertotal "
        "invoicetotal transactiontotal grandtotal totalamount totalcollected totalpaid totalprice "
        "totalrevenue totalordervalue ordervalue finaltotal amountpaid total invoiceamount transactionamount "
        "purchaseamount orderamount saleamount salesamount netsales netamount nettotal linetotal "
        "lineamount itemtotal extendedprice extendedamount amount revenue sales grosssales gross "
        "netrevenue netsale grosssale nrevenue finalamount totalspent money value subtotal netprice "
        "totalvalue fiatamount rev utarg "
        "gesamtbetrag gesamtsumme gesamtpreis gesamt summe endbetrag rechnungsbetrag bruttobetrag "
        "brutto betrag umsatz positionsbetrag zeilensumme totalttc montanttotal montant montantttc "
        "totalligne montantligne prixtotal importetotal importe totalventa montototal monto preciototal "
        "totallinea importelinea valortotal valor faturamento totale importo totaleriga totaalbedrag "
        "totaal bedrag regeltotaal totalharga tutar totaldue money wartosc wartoscbrutto kwota suma "
        "summa belopp totalowed amounttotal pricesubtotal pricetotal amountcharged totalbayar "
        "totalpembayaran totalhargaproduk "
        "productsubtotal subtotaldoproduto totalglobal totalofpayment totalordine totalecommande "
        "totalcommande totalpedido totaldopedido valordopedido valorpedido montantligne montoventa "
        "montolinea "
        "radsumma totalt totalbelopp belob doctotal extprice extamount amountusd totalbill billamount "
        "totalsalesamount totalsalevalue ordersubtotal turnover ca chiffreaffaires fatturato toplam ingreso "
        "ingresos receita valordavenda valorvenda totalvalue billtotal "
        "linespend unitspend spend totalspend salesvalue netspend grossspend spendvalue basketspend "
        "celkem celkovacena celkovacastka castka cenacelkem thanhtien tongtien tongcong tonggiatri doanhthu "
        "toplamtutar toplamfiyat satistutari ciro geneltoplam jumlahharga jumlahbayar totalpenjualan "
        "pendapatan totalpendapatan omzet wartoscsprzedazy kwotasprzedazy lacznawartosc lacznie razem "
        "vyruchka summaprodazhi obshchayasumma itogovayasumma stoimostzakaza incasso ricavo totalevendita "
        "montantvente totalvente ventetotale ventatotal vendatotal ingresototal valorcompra "
        "valoare valoaretotala totalgeneral itogo stoimost summazakaza itogovayasumma totalcost",
        is_numeric,
        against=NO_AMOUNT + "ad ads advertising marketing campaign media "
        "refunds return returns tax promotion promotions promo savings coupon voucher discount shipping "
        "tip refunded refund quantity qty items unit each per vat gst delivery due "
        "outstanding tendered fulfilled products productos produits prodotti produtos produkte "
        "articles articulos articoli artigos "
        "pieces pcs lines orders transactions customers nb nombre anzahl aantal cantidad menge "
        "quantidade quantita numar kolichestvo",
    ),
    "discount": _role(
        "discount discountamount shippingdiscount discountvalue lineitemdiscount totaldiscount "
        "discounts discountapplied disc discountpercent discountpercentage discountpct discountrate "
        "rabatt nachlass remise reduction descuento desconto sconto korting couponamount promotion "
        "promotions "
        "descontoitem descuentoitem sleva slevaprocent giamgia chietkhau indirim iskonto iskontoorani "
        "potonganharga potongan znizka skidka remisepct tauxremise remisepourcent scontopercentuale "
        "totaldiscounts totaldiskon discounttotal totalpromotions promotiondiscount itempromotiondiscount "
        "savings diskon rabat promo",
        is_numeric,
        against="code name type reason shipping id details",
    ),
    "tax": _role(
        "taxamount taxes lineitemtax salestax taxcollected vatamount tax tax5 vat gst mwst "
        "amounttax taxtotal ordertotaltaxamount sellercollectedtax moms vergi pajak impuestos impostos "
        "mehrwertsteuer ust taxe steuer tva iva btw impuesto imposto totaltax ppn "
        "kdv kdvtutari thue thuegtgt vatcastka dph podatek podatekvat nds",
        is_numeric,
        against="id name class number included rate percent exempt type inclusion status fee fees before",
    ),
    "shipping": _role(
        "shipping shippingcost shippingprice shippingamount shippingfee ordershipping shippingtotal "
        "freight freightvalue deliveryfee deliverycharge deliverycharges versand versandkosten porto "
        "totalshipping shippingtotal ongkoskirim fraisdeport livraison envio frete spedizione "
        "verzendkosten handling doprava postovne kargo kargoucreti ongkir phivanchuyen dostawa kosztdostawy "
        "dostavka",
        is_numeric,
        against="id method name date address city zip country phone discount status tax iva vat gst mwst "
        + _WAYS,
    ),
    "tip": _role(
        "tip tips gratuity trinkgeld pourboire propina servicecharge servicecharges surcharge donation",
        is_numeric,
    ),
    "rounding": _role("rounding roundoff roundingamount rundung arrondi redondeo", is_numeric),
    "paid": _role(
        "tenderamount amountpaid paidamount amounttendered tendered paymentvalue paymentamount "
        "totalpaid paid totalpayment totalpayments payments paidtotal "
        + _paid_amounts(
            "betrag summe gesamt gesamtbetrag: bezahlt gezahlt bezahlter gezahlter",
            "montant total montanttotal somme: paye regle encaisse percu",
            "importe monto total valor importetotal montototal: pagado cobrado abonado",
            "valor total montante valortotal quantia: pago recebido",
            "importo totale importototale: pagato incassato",
            "bedrag totaal totaalbedrag: betaald voldaan",
            "kwota suma: zaplacona zaplacono oplacona wplacona",
            "belopp belob summa sum totalt total: betalt betald betalat betalta inbetalt",
            "suma total valoare: platita platit achitat achitata",
            "summa: oplaty oplachennaya oplacheno oplachena",
            "tutar: odenen",
            "jumlah total: dibayar",
        ),
        is_numeric,
        against="date status by",
    ),
}
"""The evidence for each role. Names count most for the likeliest role; a column has one role only."""

SALE: Final = (
    *(
        "transacted_at",
        "time",
        "timezone",
        "key",
        "store",
        "register",
        "currency",
        "email",
        "card",
        "customer",
    ),
    *("phone", "staff", "status", "state", "sale_kind", "tender"),
)
"""Roles of a sale that are no amounts."""
LINE: Final = ("name", "sku", "line_no", "department")
"""Roles of a line that are no amounts."""
AMOUNTS: Final = (
    *("quantity", "price", "list_price", "total", "discount", "tax", "shipping", "tip", "rounding", "paid"),
)

RECORDS: Final = {
    "header": ("sale", "header", "transaction", "receipt", "order", "h", "kopf", "entete"),
    "item": ("saleline", "line", "item", "lineitem", "detail", "l", "d", "position", "ligne"),
    "payment": ("payment", "tender", "p", "zahlung", "paiement"),
}
"""Words for the record types in files that hold several."""


def record_words(words: Iterable[str]) -> dict[str, list[str]]:
    """Which words of a column mean headers, items and payments; empty where it holds other words."""
    found = {kind: [word for word in words if plain(word) in known] for kind, known in RECORDS.items()}
    return found if found["header"] and found["item"] else {}
