"""Settings, and the file that seeds the tenant."""

import pytest

from pipeline.core.errors import SettingsError
from pipeline.simulator import Location, Profile, SimulatorSettings, read_seed_file


def test_a_seed_file_is_read(tmp_path):
    path = tmp_path / "seed.json"
    path.write_text(
        '{"profiles": [{"email": "ana@example.com", "identities": {"shopify": "42"}}],'
        ' "locations": [{"external_id": "MEL-01", "timezone": "Australia/Melbourne"}], "currencies": ["AUD"]}'
    )
    assert read_seed_file(path) == {
        "profiles": (Profile("ana@example.com", {"shopify": "42"}),),
        "locations": (Location("MEL-01", "MEL-01", "Australia/Melbourne"),),
        "currencies": ("AUD",),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Expecting value"),
        ("[]", "object"),
        ('{"profile": []}', "did you mean 'profiles'"),
        ('{"profiles": [{"mail": "x"}]}', "mail"),
        ('{"profiles": 3}', "profiles"),
        ('{"currencies": [1]}', "currencies"),
        ('{"currencies": "AUD"}', "currencies"),
    ],
)
def test_a_seed_file_of_another_form_is_reported(tmp_path, text, words):
    path = tmp_path / "seed.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words) as error:
        read_seed_file(path)
    assert "seed.json" in str(error.value)


def test_a_missing_seed_file_is_reported(tmp_path):
    with pytest.raises(SettingsError, match="cannot be used"):
        read_seed_file(tmp_path / "none.json")


def test_a_profile_has_the_same_id_next_time_and_another_than_others():
    assert Profile("a@example.com") == Profile("a@example.com")
    assert len({Profile("a@example.com").id, Profile("b@example.com").id, Profile(None, {"x": "1"}).id}) == 3


@pytest.mark.parametrize(("name", "value"), [("create_existing", "maybe"), ("batch_checks", "none")])
def test_choices_are_checked(name, value):
    with pytest.raises(SettingsError, match=name):
        SimulatorSettings(**{name: value})


def test_secrets_do_not_show():
    settings = SimulatorSettings(token="t0ken", forbidden_token="f0rbidden", webhook_secret="s3cret")
    assert not any(secret in repr(settings) for secret in ("t0ken", "f0rbidden", "s3cret"))
