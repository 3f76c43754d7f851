from __future__ import annotations

import os
from pathlib import Path

import pytest

from oxenfs import config
from oxenfs.errors import OxenfsError
from oxenfs.model import Author

AUTH = """
default_host = "data.example.org:3000"
[[host_configs]]
host = "data.example.org:3000"
auth_token = "secret-one"
[[host_configs]]
host = "hub.oxen.ai"
auth_token = "secret-two"
"""


@pytest.fixture
def folder(home: Path) -> Path:
    path = home / ".config" / "oxen"
    path.mkdir()
    return path


def test_without_configuration_nothing_is_known_and_nothing_is_made(home: Path) -> None:
    assert config.author() is None
    assert config.default_host() == "hub.oxen.ai"
    assert config.token("hub.oxen.ai") is None
    assert not (home / ".config" / "oxen").exists()


def test_the_folder_is_below_home_without_the_variable(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OXEN_CONFIG_DIR")
    assert config.folder() == home / ".config" / "oxen"


def test_author_is_the_clients_user(folder: Path) -> None:
    (folder / "user_config.toml").write_text(
        'name = "Ada Lövelace"\nemail = "ada@x"\neditor = "vi"\n', encoding="utf-8"
    )
    assert config.author() == Author("Ada Lövelace", "ada@x")


@pytest.mark.parametrize("text", ["", 'name = "Ada"', 'email = "a@b"', 'name = " "\nemail = "a@b"'])
def test_half_an_author_is_none(folder: Path, text: str) -> None:
    (folder / "user_config.toml").write_text(text)
    assert config.author() is None


def test_fallback_author_is_login_and_host() -> None:
    author = config.fallback_author()
    assert author.name
    assert author.email == f"{author.name}@{os.uname().nodename}"


def test_fallback_author_of_a_user_without_a_passwd_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 2_000_000_123)
    assert config.fallback_author().name == "uid2000000123"


@pytest.mark.parametrize("name", ["user_config.toml", "auth_config.toml"])
@pytest.mark.parametrize("raw", [b'name = "unfinished', b"name = \xff\xfe", b"x = " + b"9" * 5000])
def test_a_bad_file_is_named_and_its_secrets_are_not(folder: Path, name: str, raw: bytes) -> None:
    (folder / name).write_bytes(b'auth_token = "hidden"\n' + raw)
    read = config.author if name.startswith("user") else config.default_host
    with pytest.raises(OxenfsError) as caught:
        read()
    assert str(folder / name) in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_of_the_wrong_type_names_the_key(folder: Path) -> None:
    (folder / "auth_config.toml").write_text("default_host = 7")
    with pytest.raises(OxenfsError, match=r"auth_config\.toml: default_host must be text"):
        config.default_host()


def test_a_folder_in_place_of_a_file_is_an_error_of_ours(folder: Path) -> None:
    (folder / "user_config.toml").mkdir()
    with pytest.raises(OxenfsError, match=r"cannot read .*user_config\.toml"):
        config.author()


@pytest.mark.parametrize("text", ["host_configs = 3", "host_configs = [1]"])
def test_host_configs_must_be_tables(folder: Path, text: str) -> None:
    (folder / "auth_config.toml").write_text(text)
    with pytest.raises(OxenfsError, match="host_configs"):
        config.token("hub.oxen.ai")


def test_a_token_belongs_to_exactly_its_host(folder: Path) -> None:
    (folder / "auth_config.toml").write_text(AUTH)
    assert config.default_host() == "data.example.org:3000"
    for host, secret in (("data.example.org:3000", "secret-one"), ("hub.oxen.ai", "secret-two")):
        token = config.token(host)
        assert token is not None
        assert (token.host, token.secret) == (host, secret)
    assert config.token("HUB.oxen.AI") is not None
    for other in ("data.example.org", "data.example.org:3001", "x.hub.oxen.ai", "oxen.ai", ""):
        assert config.token(other) is None


def test_printing_a_token_hides_it(folder: Path) -> None:
    (folder / "auth_config.toml").write_text(AUTH)
    token = config.token("hub.oxen.ai")
    assert "hub.oxen.ai" in repr(token)
    assert "secret" not in f"{token!r} {token} {[token]}"


def test_a_token_file_replaces_the_default_hosts_token_only(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "auth_config.toml").write_text(AUTH)
    (tmp_path / "token").write_text("from-file\n")
    monkeypatch.setenv("OXENFS_TOKEN_FILE", str(tmp_path / "token"))
    assert config.token("data.example.org:3000") == config.Token(
        "data.example.org:3000", "from-file"
    )
    assert config.token("hub.oxen.ai") == config.Token("hub.oxen.ai", "secret-two")
    assert config.token("elsewhere.example.org") is None


def test_a_token_file_for_a_named_host(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "auth_config.toml").write_text(AUTH)
    (tmp_path / "token").write_text("from-file")
    monkeypatch.setenv("OXENFS_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("OXENFS_TOKEN_HOST", "other:8080")
    assert config.token("other:8080") == config.Token("other:8080", "from-file")
    assert config.token("other") is None
    assert config.token("data.example.org:3000") == config.Token(
        "data.example.org:3000", "secret-one"
    )


@pytest.mark.parametrize("raw", [b"", b"  \n", b"two words", b"a\nb", b"\xff\xfe", b"x" * 70_000])
def test_a_token_file_holds_one_word(
    raw: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_bytes(raw)
    monkeypatch.setenv("OXENFS_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(OxenfsError, match="OXENFS_TOKEN_FILE") as caught:
        config.token("hub.oxen.ai")
    assert "two" not in str(caught.value)


def test_a_missing_token_file_is_an_error_not_another_token(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "auth_config.toml").write_text(AUTH)
    monkeypatch.setenv("OXENFS_TOKEN_FILE", str(tmp_path / "gone"))
    with pytest.raises(OxenfsError, match="OXENFS_TOKEN_FILE"):
        config.token("data.example.org:3000")
