from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from pipeline.core.errors import SettingsError
from pipeline.core.settings import Limit, Secret, connection_from_environment

TOKEN = "tok-123"


def test_a_tenant_gives_its_address() -> None:
    connection = connection_from_environment(environ={"OMNEO_TENANT": "acme", "OMNEO_TOKEN": TOKEN})
    assert connection.base_url == "https://api.acme.getomneo.com/api/v3"
    assert connection.token.reveal() == TOKEN


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/api/v3",
        "http://127.0.0.1:8080/api/v3",
        "http://[::1]:1/x",
        "http://localhost:1",
    ],
)
def test_an_address_is_used_as_given(url: str) -> None:
    assert connection_from_environment(environ={"OMNEO_BASE_URL": url, "OMNEO_TOKEN": TOKEN}).base_url == url


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "OMNEO_TENANT is not set"),
        ({"OMNEO_TENANT": "acme"}, "OMNEO_TOKEN holds no token"),
        ({"OMNEO_TENANT": "https://acme"}, "is not a tenant's name"),
        ({"OMNEO_TENANT": "acme", "OMNEO_TOKEN": "two words"}, "that is not a token"),
        ({"OMNEO_BASE_URL": "http://api.example.com"}, "would send the token unencrypted"),
        ({"OMNEO_BASE_URL": "http://127.0.0.1.example.com"}, "unencrypted"),
        ({"OMNEO_BASE_URL": "ftp://x"}, "is not an https:// address"),
        ({"OMNEO_BASE_URL": "https://user:pass@x"}, "must hold no user"),
        ({"OMNEO_BASE_URL": "https://x:port"}, "is not a valid URL"),
        ({"OMNEO_BASE_URL": "https://a..b"}, "is not a valid URL"),
        ({"OMNEO_BASE_URL": "https://256.256.256.256"}, "is not a valid URL"),
        ({"OMNEO_BASE_URL": f"https://{'a' * 64}.example"}, "is not a valid URL"),
        ({"OMNEO_TENANT": "a" * 64}, "is not a tenant's name"),
    ],
)
def test_what_cannot_be_used_says_why(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        connection_from_environment(environ=environ)


@pytest.mark.parametrize(
    "url",
    [
        "hunter2", "hunter2://x", "https://", "https:///hunter2", "https://:443", "https://hunter2:0",
        "https://hunter2:99999", "https://hunter2:8o", "https://[::1", "https://[hunter2]",
        "https://hun ter2",
        "https://x/hun ter2", "https://x/hunter2\x01", "https://x/hunter2\udcff", "https://hunter2\udcff/",
        "https://x/%zz/hunter2", "https://x?hunter2", "https://x#hunter2", "https://x/?", "https://x/hunter2\\",
        "https://hunter2@x", "https://hunter2:@x", "https://:hunter2@x", "https://-hunter2-.x", "https://1.2",
        "https://127.1", "https://0x7f.1", "https://1.2.3.4.5", "https://2130706433", "https://h\u00fc_.hunter2",
        "https://[fe80::1%25eth0]", "https://" + "hunter2." * 40, "http://hunter2.example",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_one_is_named_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError, match="OMNEO_BASE_URL") as error:
        connection_from_environment(environ={"OMNEO_BASE_URL": url, "OMNEO_TOKEN": TOKEN})
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "tenant", ["a.b", "-acme", "acme-", "ac me", "acm\udcff", "h\u00fc", "acme/x", "a_b"]
)
def test_a_tenant_that_cannot_be_one_is_an_error(tenant: str) -> None:
    with pytest.raises(SettingsError, match="OMNEO_TENANT") as error:
        connection_from_environment(environ={"OMNEO_TENANT": tenant, "OMNEO_TOKEN": TOKEN})
    assert tenant not in str(error.value)


@pytest.mark.slow
@given(st.text(st.characters(codec="utf-8", max_codepoint=0x2FFF), max_size=40))
def test_what_passes_for_an_address_can_be_sent_to(rest: str) -> None:
    try:
        found = connection_from_environment(
            environ={"OMNEO_BASE_URL": f"https://{rest}", "OMNEO_TOKEN": TOKEN}
        )
    except SettingsError:
        return
    url = httpx.URL(found.base_url + "/transactions/queue")
    assert URL(str(url), encoded=True).raw_host
    httpx.Request("POST", url)


@pytest.mark.parametrize(
    "token", ["tok\nhunter2", "hunter2\x00", "h\u00fcnter2", "hunter2\udcff", "hunter2 x", " \n"]
)
def test_a_token_that_cannot_be_one_is_named_and_not_repeated(token: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="OMNEO_TOKEN") as error:
        connection_from_environment(environ={"OMNEO_TENANT": "acme", "OMNEO_TOKEN": token})
    assert "nter2" not in str(error.value)
    file = tmp_path / "token"
    file.write_bytes(token.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsError, match="token") as error:
        connection_from_environment(file, {"OMNEO_TENANT": "acme"})
    assert "nter2" not in str(error.value)


def test_a_token_can_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    environ = {"OMNEO_TENANT": "acme", "OMNEO_TOKEN": "other"}
    assert connection_from_environment(file, environ).token.reveal() == TOKEN
    with pytest.raises(SettingsError, match="cannot be read"):
        connection_from_environment(tmp_path / "missing", environ)


def test_a_secret_never_shows_itself() -> None:
    connection = connection_from_environment(environ={"OMNEO_TENANT": "acme", "OMNEO_TOKEN": TOKEN})
    assert TOKEN not in f"{connection!r} {connection} {Secret(TOKEN)!r} {Secret(TOKEN)} {Secret(TOKEN):}"


def test_the_gate_counts_or_takes_a_share() -> None:
    assert not Limit("2%", share=Decimal("0.02")).exceeded(2, 100)
    assert Limit("2%", share=Decimal("0.02")).exceeded(3, 100)
    assert not Limit("0%", share=Decimal("0.0")).exceeded(0, 0)
    assert Limit("0", count=0).exceeded(1, 100)
