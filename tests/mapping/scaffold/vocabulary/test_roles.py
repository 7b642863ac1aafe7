import polars as pl
import pytest

from pipeline.mapping.language.value_spec import Number
from pipeline.mapping.scaffold.vocabulary.cells import number_form
from pipeline.mapping.scaffold.vocabulary.role_fit import choose_columns, fit, is_another_of, paid_or_total
from pipeline.mapping.scaffold.vocabulary.roles import ROLES
from pipeline.mapping.scaffold.vocabulary.statuses import states


@pytest.mark.parametrize(
    ("texts", "number"),
    [
        (["1.50", "-2"], Number()),
        (["1.234,50", "2,00"], Number(decimal=",", thousands=".")),
        (["1 234,50 €", "2,00 €"], Number(decimal=",", thousands=" ", currency=("€",))),
        (["1'234.50", "2.00"], Number(thousands="'")),
        (["0,500", "1,250"], Number(decimal=",")),
        (["1,250", "12,000"], Number(thousands=",")),
        (["1.250", "950", "12.000", "3.500"], Number(decimal=",", thousands=".")),
        (["1.250", "0.500", "12.000", "3.500"], Number()),
        (["$1,149.00 ", "-$7.00", "($33.62)"], Number(thousands=",", currency=("$",), parentheses=True)),
        (["12.00-"], Number(trailing_minus=True)),
        (["EUR 5.00"], Number(currency=("EUR",))),
    ],
)
def test_notations_of_numbers(texts: list[str], number: Number) -> None:
    assert number_form([pl.Series(texts)]) == number


def test_contents_outweigh_names() -> None:
    frame = pl.DataFrame(
        {"State": ["VIC", "NSW"], "email": ["no", "none"], "date": ["x", "y"], "total": ["a", "b"]}
    )

    assert choose_columns(frame) == {}


def test_one_of_the_names_is_better_than_one_among_other_words() -> None:
    assert fit("Unit price", "price") > fit("Unit price (EUR)", "price") > 0
    assert fit("Total discount", "total") == 0
    assert fit("order_total", "total") > 2
    assert fit("number#2", "key") > 0


@pytest.mark.parametrize(
    "names",
    [
        "Amount paid,Total paid,Paid",
        "Montant payé,Montant réglé,Total payé,Encaissé",
        "Bezahlt,Gezahlter Betrag,Betrag bezahlt",
        "Importe pagado,Monto pagado,Pagado,Total cobrado",
        "Valor pago,Valor total pago,Total pago",
        "Importo pagato,Totale pagato",
        "Bedrag betaald,Betaald bedrag,Totaal betaald",
        "Kwota zapłacona,Zapłacono",
        "Betalt belopp,Beløb betalt,Betalat",
        "Suma plătită,Оплачено,Ödenen tutar,Jumlah dibayar",
    ],
)
def test_what_was_paid_is_the_total_only_where_nothing_else_is(names: str) -> None:
    for name in names.split(","):
        amount = fit(name, "total") > 0
        assert paid_or_total({name: "total", "Total": "total"}) == {name: "paid"}, name
        assert paid_or_total({name: "paid", "Subtotal": "total"}) == ({name: "total"} if amount else {}), name


@pytest.mark.parametrize(
    ("columns", "customer"),
    [
        ({"Client": ["Client sans nom", "Dupont Marie", "Paul"]}, None),
        ({"Kunde": ["Müller, Anna", "O'Neill Jim"]}, None),
        ({"Client": ["Client sans nom", "C 001", "C 002"]}, "Client"),
        ({"Customer": ["anna", "jim"]}, "Customer"),
        ({"user_id/id": ["base.u1", "base.u2"], "partner_id/id": ["base.p1", "base.p2"]}, "partner_id/id"),
        ({"user_id": ["1", "2"], "partner_id": ["7", "8"]}, "partner_id"),
        ({"user_id": ["1", "2"], "Customer": ["C1", "C2"]}, "Customer"),
        ({"user_id": ["1", "2"]}, "user_id"),
    ],
)
def test_customers_are_known_by_ids_and_not_by_names(
    columns: dict[str, list[str]], customer: str | None
) -> None:
    assert choose_columns(pl.DataFrame(columns), ["customer"]).get("customer") == customer


@pytest.mark.parametrize(
    ("name", "first", "is_second"),
    [
        ("Mode de règlement 2", "Mode de règlement", True),
        ("payment_method_2", "payment_method_1", True),
        ("Second payment method", "Payment method", True),
        ("Card brand", "Payment method", False),
        ("Payment status 2", "Payment method", False),
        ("Payment method 2", "", False),
    ],
)
def test_a_second_tender_is_known_by_its_name(name: str, first: str, *, is_second: bool) -> None:
    assert is_another_of(name, first, "tender") is is_second


def test_a_column_has_one_role() -> None:
    frame = pl.DataFrame({"Order Total": ["5.00", "6.00"], "Total": ["5.50", "6.50"], "Qty": ["1", "2"]})

    assert choose_columns(frame, ["total", "quantity"]) == {"total": "Order Total", "quantity": "Qty"}


def test_status_words_in_several_languages() -> None:
    assert states(["Bezahlt", "ABGEBROCHEN", "borrador", "???"]) == (
        {"complete": ["Bezahlt"], "cancelled": ["ABGEBROCHEN"], "draft": ["borrador"]},
        ["???"],
    )


def test_shipped_is_complete_whatever_else_there_is() -> None:
    assert states(["Shipped", "On Hold"])[0] == {"complete": ["Shipped"], "order_open": ["On Hold"]}
    assert states(["shipped", "delivered"])[0] == {"complete": ["shipped", "delivered"]}


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("売上", "total"),
        ("数量", "quantity"),
        ("割引率", "discount"),
        ("销售额", "total"),
        ("订单号", "key"),
        ("출하일자", ""),
        ("매출액", "total"),
        ("ยอดขาย", "total"),
        ("รหัสลูกค้า", "customer"),
        ("利益", ""),
        ("不明数量", ""),
    ],
)
def test_names_in_east_asian_scripts_are_known_where_all_of_their_words_are(name: str, role: str) -> None:
    best = max(ROLES, key=lambda each: fit(name, each))
    assert (best if fit(name, best) > 0 else "") == role


def test_a_sign_for_not_keeps_a_status_unknown() -> None:
    known, unknown = states(["已完成", "未完成", "キャンセル", "취소"])
    assert known == {"complete": ["已完成"], "cancelled": ["キャンセル", "취소"]}
    assert unknown == ["未完成"]
