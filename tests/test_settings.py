from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.errors import SettingsError
from pipeline.settings import Limit, Secret, connection_from_environment

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
        ({"OMNEO_BASE_URL": "http://api.example.com"}, "would send the token unencrypted to api.example.com"),
        ({"OMNEO_BASE_URL": "http://127.0.0.1.example.com"}, "unencrypted"),
        ({"OMNEO_BASE_URL": "ftp://x"}, "is not an https:// address"),
        ({"OMNEO_BASE_URL": "https://user:pass@x"}, "must hold no user"),
        ({"OMNEO_BASE_URL": "https://x:port"}, "is not an address"),
        ({"OMNEO_BASE_URL": "https://a..b"}, "is not an address"),
        ({"OMNEO_BASE_URL": "https://256.256.256.256"}, "is not an address"),
        ({"OMNEO_BASE_URL": f"https://{'a' * 64}.example"}, "is not an address"),
        ({"OMNEO_TENANT": "a" * 64}, "is not a tenant's name"),
    ],
)
def test_what_cannot_be_used_says_why(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        connection_from_environment(environ=environ)


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
