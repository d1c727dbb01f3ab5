"""Settings come from WEFT_* variables; what is wrong is said in sentences that name the variable."""

from __future__ import annotations

import os

import pytest

from server.settings import Settings, environment, load
from store.errors import Misconfigured


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("WEFT_", "OPENAI_", "ANTHROPIC_")):
            monkeypatch.delenv(name)


def test_without_a_word_weft_listens_on_loopback_with_its_own_postgres() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.embedded) == ("127.0.0.1", 7337, True)
    assert settings.postgres_dir not in settings.keys_dir.parents


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_PORT", "9001")
    assert load().port == 9001
    assert load(port=9002).port == 9002
    assert load(port=None).port == 9001


def test_every_wrong_variable_gets_its_own_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_PORT", "seven")
    monkeypatch.setenv("WEFT_ALLOW_NETS", "10.0.0.0/8, nonsense")
    monkeypatch.setenv("WEFT_DATABASE_URL", "mysql://db")
    monkeypatch.setenv("WEFT_ALOW_HOSTS", "shop.internal")
    with pytest.raises(Misconfigured) as refused:
        load()
    lines = refused.value.message.splitlines()
    assert lines[0] == "WEFT_ALOW_HOSTS is not a setting of Weft; did you mean WEFT_ALLOW_HOSTS?"
    assert "WEFT_PORT must be a valid integer." in lines
    assert any(line.startswith("WEFT_ALLOW_NETS: 'nonsense' is not a network") for line in lines)
    assert any(line.startswith("WEFT_DATABASE_URL must be like postgresql://") for line in lines)


def test_a_variable_nobody_knows_is_told_how_variables_for_expressions_are_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WEFT_ZEBRA_QUOTA", "1")
    with pytest.raises(Misconfigured, match="WEFT_VAR_NAME"):
        load()


def test_variables_for_expressions_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_VAR_SHOP_URL", "http://shop")
    assert load().variables == {"SHOP_URL": "http://shop"}


def test_vendor_names_of_keys_work_and_ours_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from-vendor-name")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1234/v1")
    settings = load()
    assert settings.openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == "from-vendor-name"
    assert settings.openai_base_url == "http://localhost:1234/v1"
    monkeypatch.setenv("WEFT_OPENAI_API_KEY", "ours")
    settings = load()
    assert settings.openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == "ours"


def test_secrets_do_not_show() -> None:
    settings = Settings.model_validate(
        {"openai_api_key": "sk-very-secret", "database_url": "postgresql://weft_app:hush@db/weft", "variables": {}}
    )
    assert "very-secret" not in repr(settings)
    assert "hush" not in repr(settings)
    assert "postgresql://weft_app:hush@db/weft" in settings.secrets()


def test_a_wrong_secret_is_not_repeated_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_DATABASE_URL", "hunter2-is-my-password")
    with pytest.raises(Misconfigured) as refused:
        load()
    assert "hunter2" not in refused.value.message


def test_listening_beyond_loopback_needs_the_names_clients_use(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match="WEFT_ALLOWED_HOSTS"):
        load(host="0.0.0.0")
    monkeypatch.setenv("WEFT_ALLOWED_HOSTS", "weft.example.com, other.example.com")
    assert load(host="0.0.0.0").allowed_hosts == ("weft.example.com", "other.example.com")


def test_a_child_gets_the_model_settings_and_none_of_our_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_MODEL", "openai:gpt-5-mini")
    monkeypatch.setenv("WEFT_DATABASE_URL", "postgresql://other")
    child = environment(WEFT_PORT="1")
    assert child["WEFT_MODEL"] == "openai:gpt-5-mini"
    assert child["WEFT_PORT"] == "1"
    assert "WEFT_DATABASE_URL" not in child
