"""pip's own settings are read as pip reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunewright.assets.settings import IndexSettings, ask_pip, read_settings

LISTING = """
:env:.find-links='/from/environment'
global.extra-index-url='https://one.test/simple\\nfile:///two/simple'
global.index-url='https://global.test/simple'
global.timeout='60'
install.index-url='https://install.test/simple'
install.trusted-host='a.test b.test:8080'
wheel.index-url='https://wheel.test/simple'
global.no-index='false'
global.cert="/it's/here.pem"
garbage without meaning
"""


def test_sections_go_from_global_to_install() -> None:
    settings = read_settings({}, lambda: LISTING)
    assert settings == IndexSettings(
        index_url="https://install.test/simple",
        extra_index_urls=("https://one.test/simple", "file:///two/simple"),
        cert="/it's/here.pem",
        trusted_hosts=("a.test", "b.test:8080"),
        timeout_seconds=60,
    )


def test_variables_beat_files_and_empty_ones_count_for_nothing() -> None:
    environment = {
        "PIP_INDEX_URL": "https://variable.test/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "/a https://b.test/",
        "PIP_NO_INDEX": "1",
        "PIP_DEFAULT_TIMEOUT": "7",
        "PIP_CLIENT_CERT": "/c.pem",
        "PIP_PROXY": "http://proxy.test:3128",
    }
    settings = read_settings(environment, lambda: LISTING)
    assert settings.index_url == "https://variable.test/simple"
    assert settings.extra_index_urls == ("https://one.test/simple", "file:///two/simple")
    assert settings.find_links == ("/a", "https://b.test/")
    assert settings.no_index
    assert (settings.timeout_seconds, settings.client_cert) == (7, "/c.pem")
    assert settings.proxy == "http://proxy.test:3128"


@pytest.mark.parametrize(("value", "seconds"), [("", 15), ("soon", 15), ("0", 1), ("1e9", 600), ("nan", 1)])
def test_a_timeout_is_kept_within_reason(value: str, seconds: float) -> None:
    assert read_settings({"PIP_TIMEOUT": value}, str).timeout_seconds == seconds


def test_a_certificate_bundle_for_other_tools_serves_here_too() -> None:
    assert read_settings({"REQUESTS_CA_BUNDLE": "/r.pem", "CURL_CA_BUNDLE": "/c.pem"}, str).cert == "/r.pem"


def test_pip_itself_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://mirror.test/simple\nextra-index-url =\n  https://x.test\n  https://y.test\n"
    )
    (tmp_path / "pip.py").write_text("raise SystemExit('a file of the current folder was run')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    assert "mirror.test" in ask_pip()
    settings = read_settings()
    assert settings.index_url == "https://mirror.test/simple"
    assert settings.extra_index_urls == ("https://x.test", "https://y.test")


def test_without_pip_the_variables_still_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert ask_pip() == ""
    assert read_settings({"PIP_INDEX_URL": "https://m.test"}).index_url == "https://m.test"
