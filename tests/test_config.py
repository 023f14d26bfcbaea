"""Settings: where they are read from, and what is said when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from playhead.config import KafkaSettings, Settings, load_settings
from playhead.errors import ConfigError


def write(home: Path, text: str) -> Path:
    home.mkdir(exist_ok=True)
    file = home / "playhead.toml"
    file.write_text(text)
    return file


def test_defaults_need_no_file(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "absent")
    assert settings.home == tmp_path / "absent"
    assert settings.kafka == KafkaSettings()
    assert settings.lake == tmp_path / "absent" / "lake"


def test_the_file_in_the_home_is_read(tmp_path: Path) -> None:
    write(tmp_path, "[kafka]\nport = 1234\n[stream]\nallowed_lateness = 'PT3S'\n")
    settings = load_settings(tmp_path)
    assert settings.kafka.servers == "127.0.0.1:1234"
    assert settings.stream.allowed_lateness.total_seconds() == 3


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "[kafka]\nport = 1234\npartitions = 8\n")
    monkeypatch.setenv("PLAYHEAD_KAFKA__PORT", "4321")
    kafka = load_settings(tmp_path).kafka
    assert (kafka.port, kafka.partitions) == (4321, 8)


def test_a_named_file_is_read_instead_of_the_one_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "[kafka]\nport = 1\n")
    other = write(tmp_path / "other", "[kafka]\nport = 2\n")
    assert load_settings(tmp_path, other).kafka.port == 2
    monkeypatch.setenv("PLAYHEAD_CONFIG", str(other))
    assert load_settings(tmp_path).kafka.port == 2


def test_a_given_home_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path / "environment"))
    assert load_settings().home == tmp_path / "environment"
    assert load_settings(tmp_path / "given").home == tmp_path / "given"


def test_a_relative_home_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(Path("here")).home == tmp_path / "here"
    assert Settings(home=Path("here")).home == tmp_path / "here"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[kafka]\nprot = 1\n", "kafka.prot"),
        ("[kafka]\nport = 'many'\n", "kafka.port"),
        ("kafka = 3\n", "kafka"),
        ("[kafka\n", "not valid TOML"),
        ("home = '/elsewhere'\n", "home is not read from a file"),
        ("mode = 'clutser'\n", "mode"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, problem: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path)
    assert problem in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_wrong_setting_names_every_place_that_was_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_KAFKA__PARTITIONS", "0")
    monkeypatch.setenv("PLAYHEAD_REDIS__PORT", "7")
    with pytest.raises(ConfigError, match=r"kafka\.partitions") as caught:
        load_settings(tmp_path)
    hint = str(caught.value.hint)
    assert f"{tmp_path / 'playhead.toml'} (absent)" in hint
    assert "PLAYHEAD_KAFKA__PARTITIONS" in hint
    assert "PLAYHEAD_REDIS__PORT" in hint


@pytest.mark.parametrize("variable", ["PLAYHEAD_KAFKA__PROT", "PLAYHEAD_KAFK__PORT", "PLAYHEAD_PORT"])
def test_a_misspelt_variable_is_not_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ConfigError, match=variable):
        load_settings(tmp_path)


def test_a_variable_that_is_no_section_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYHEAD_KAFKA", "{broken")
    with pytest.raises(ConfigError, match="kafka"):
        load_settings(tmp_path)


def test_a_missing_named_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_settings(tmp_path, tmp_path / "none.toml")


@pytest.mark.parametrize("section", ["kafka", "redis"])
def test_a_password_in_a_file_is_refused_and_not_repeated(tmp_path: Path, section: str) -> None:
    write(tmp_path, f"[{section}]\npassword = 'hunter2'\n")
    with pytest.raises(ConfigError, match=f"{section}.password") as caught:
        load_settings(tmp_path)
    assert "hunter2" not in str(caught.value)
    assert f"PLAYHEAD_{section.upper()}__PASSWORD" in str(caught.value)


def test_tokens_in_a_file_are_refused_and_not_repeated(tmp_path: Path) -> None:
    write(tmp_path, "[serve]\ntokens = ['hunter2']\n")
    with pytest.raises(ConfigError, match=r"serve\.tokens.*PLAYHEAD_SERVE__TOKENS") as caught:
        load_settings(tmp_path)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", ['"hunter2"', "hunter2", '["hunter2", 3]', '{"a": "hunter2"}'])
def test_tokens_that_are_no_list_of_texts_are_refused_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("PLAYHEAD_SERVE__TOKENS", value)
    with pytest.raises(ConfigError, match="serve") as caught:
        load_settings(tmp_path)
    assert "hunter2" not in str(caught.value)


def test_a_process_that_gets_the_settings_as_variables_has_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYHEAD_SERVE__TOKENS", '["token-1", "token-2"]')
    monkeypatch.setenv("PLAYHEAD_SERVE__BUDGET", "PT0.02S")
    monkeypatch.setenv("PLAYHEAD_REDIS__PASSWORD", "secret")
    settings = load_settings(tmp_path)
    assert [token.get_secret_value() for token in settings.serve.tokens] == ["token-1", "token-2"]
    assert "token-1" not in repr(settings)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_a_password_from_the_environment_reaches_clients_and_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYHEAD_KAFKA__PASSWORD", 'p"w\\')
    monkeypatch.setenv("PLAYHEAD_KAFKA__USERNAME", "me")
    monkeypatch.setenv("PLAYHEAD_KAFKA__SASL_MECHANISM", "SCRAM-SHA-512")
    settings = load_settings(tmp_path)
    assert settings.kafka.client()["sasl.password"] == 'p"w\\'
    assert (
        settings.kafka.jvm_client()["sasl.jaas.config"]
        == 'org.apache.kafka.common.security.scram.ScramLoginModule required username="me" password="p\\"w\\\\";'
    )
    assert 'p"w' not in repr(settings)
