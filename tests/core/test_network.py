from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import pytest

from pipeline.core.errors import SettingsError
from pipeline.core.network import proxy_for, trusted_certificates
from pipeline.core.settings import connection_from_environment

OMNEO = "https://api.acme.test/api/v3"
VARIABLES = (
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "http_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSLKEYLOGFILE",
)


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("variable", "value", "url"),
    [
        ("HTTPS_PROXY", "http://proxy.test:3128", "http://proxy.test:3128"),
        ("https_proxy", "http://proxy.test:3128/", "http://proxy.test:3128"),
        ("HTTPS_PROXY", "proxy.test:3128", "http://proxy.test:3128"),
        ("HTTPS_PROXY", "proxy.test", "http://proxy.test:80"),
        ("HTTPS_PROXY", " proxy.test:3128 ", "http://proxy.test:3128"),
        ("HTTPS_PROXY", "HTTP://proxy.test", "http://proxy.test:80"),
        ("HTTPS_PROXY", "https://proxy.test", "https://proxy.test:443"),
        ("ALL_PROXY", "10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("all_proxy", "http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_proxy_can_be_written_in_many_ways(
    variable: str, value: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    proxy = proxy_for(OMNEO)
    assert proxy is not None
    assert (proxy.url, proxy.variable, proxy.headers) == (url, variable, None)


@pytest.mark.parametrize("form", ["http://{}@proxy.test:1", "{}@proxy.test:1"])
@pytest.mark.parametrize("credentials", ["user:hunter2", "hunter2", "us%40er:hunter2%2F", ":hunter2"])
def test_credentials_of_a_proxy_are_a_header_and_are_not_shown(
    form: str, credentials: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", form.format(credentials))
    proxy = proxy_for(OMNEO)
    assert proxy is not None
    assert proxy.headers is not None
    assert proxy.headers["Proxy-Authorization"].startswith("Basic ")
    assert "hunter2" not in repr(proxy)
    assert proxy.headers["Proxy-Authorization"] not in repr(proxy)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    "value",
    [
        "socks5://u:hunter2@p:1", "socks5h://hunter2", "socks4://p:1", "ftp://hunter2", "quic://hunter2:1",
        "http://u:hunter2@p:port", "http://u:hunter2@p:99999", "http://u:hunter2@p:0", "u:hunter2@p:-1",
        "http://u:hunter2@", "http://", "://hunter2", "http://u:hun ter2@p", "http://[::1", "http://[hunter2]:1",
        "http://hunter2,http://hunter3", "http://p\x01", "http://h\u00fcnter2", "http://p\udcff:1",
        "hunter2/p:1@", "http://u:hun/ter2@p:1",
    ],
)  # fmt: skip
def test_a_proxy_that_cannot_be_used_is_named_and_not_repeated(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable) as error:
        connection_from_environment(environ={"OMNEO_BASE_URL": OMNEO, "OMNEO_TOKEN": "t"})
    assert "hunter" not in str(error.value)
    assert "ter2" not in str(error.value)


def test_a_proxy_for_another_scheme_or_for_loopback_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.test")
    assert proxy_for(OMNEO) is None
    monkeypatch.setenv("https_proxy", "http://proxy.test")
    assert proxy_for(OMNEO) is not None
    assert proxy_for("http://127.0.0.1:8080/api/v3") is None
    monkeypatch.setenv("https_proxy", "")
    assert proxy_for(OMNEO) is None


@pytest.mark.parametrize(
    ("excepted", "address", "direct"),
    [
        ("*", OMNEO, True),
        ("acme.test", OMNEO, True),
        (".test", OMNEO, True),
        ("me.test", OMNEO, False),
        ("other, api.acme.test ,", OMNEO, True),
        ("api.acme.test:8443", "https://api.acme.test:8443", True),
        ("api.acme.test:8443", OMNEO, False),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("::1", "https://[::1]/api", True),
        ("10.0.0.0/99,[[:/,,*x,\udcff,\x01", OMNEO, False),
        ("10.0.0.0/99,[[:/,,*x,\udcff,\x01", "https://10.0.0.1", False),
    ],
)
def test_no_proxy_may_hold_anything(
    excepted: str, address: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test")
    monkeypatch.setenv("NO_PROXY", excepted)
    assert (proxy_for(address) is None) is direct


def test_by_default_certifi_is_trusted() -> None:
    assert trusted_certificates().cert_store_stats()["x509_ca"] >= 50


def test_a_file_of_certificates_takes_the_place_of_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = "-----BEGIN CERTIFICATE-----"
    one = begin + Path(certifi.where()).read_text().split(begin)[1]
    (tmp_path / "one.pem").write_text(one)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "one.pem"))
    assert trusted_certificates().cert_store_stats()["x509_ca"] == 1


def test_a_directory_of_certificates_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "0123abcd.0").write_text(Path(certifi.where()).read_text())
    monkeypatch.setenv("SSL_CERT_DIR", f"/missing-hunter2:{tmp_path}")
    assert isinstance(trusted_certificates(), ssl.SSLContext)


@pytest.mark.parametrize("base_url", [OMNEO, "http://127.0.0.1:8080"])
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"])
@pytest.mark.parametrize("kind", ["missing", "empty", "binary", "other", "beneath a file", "odd"])
def test_certificates_that_cannot_be_used_are_named_and_not_repeated(
    kind: str, variable: str, base_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hunter2"
    if kind == "other":  # a directory in place of a file, and the reverse
        path.write_text("x") if variable == "SSL_CERT_DIR" else path.mkdir()
    elif kind in ("empty", "binary") and variable == "SSL_CERT_FILE":
        path.write_bytes(b"" if kind == "empty" else bytes(range(256)))
    elif kind in ("empty", "binary") and variable == "SSL_CERT_DIR":
        path.mkdir()
        (path / "ca.pem").write_text("no hash for a name")
    elif kind == "beneath a file":
        (tmp_path / "file").write_text("x")
        path = tmp_path / "file" / "hunter2"
    elif kind == "odd":
        path = tmp_path / "hunter2\udcff" / "x"
    else:
        path = tmp_path / "missing" / "hunter2"
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(SettingsError, match=variable) as error:
        connection_from_environment(environ={"OMNEO_BASE_URL": base_url, "OMNEO_TOKEN": "t"})
    assert "hunter2" not in str(error.value)
