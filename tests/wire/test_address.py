import re
from pathlib import Path

import pytest

from stepahead.contract.errors import SettingsError
from stepahead.contract.settings import BrokerSettings
from stepahead.wire.address import Address, parse_address, read_password, tls_context


def test_addresses() -> None:
    assert parse_address("mqtt://broker") == Address("broker", 1883, False)
    assert parse_address("mqtts://broker.example:9000/") == Address("broker.example", 9000, True)


@pytest.mark.parametrize("url", ["mqtt://", "http://a", "mqtt://a/b", "mqtt://a?x=1", "mqtt://a:0", "mqtt://a:99999"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=re.escape("mqtts://HOST[:PORT]")):
        parse_address(url)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match=r"password_file") as error:
        parse_address("mqtt://user:hunter2@broker")
    assert "hunter2" not in str(error.value)


def test_passwords(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(" pass word \r\n")
    assert read_password(BrokerSettings(password_file=file)) == " pass word "
    assert read_password(BrokerSettings.model_validate({"password": "x"})) == "x"
    assert read_password(BrokerSettings()) is None
    with pytest.raises(SettingsError, match=r"password_file = .*No such file"):
        read_password(BrokerSettings(password_file=tmp_path / "none"))


def test_files_that_are_no_certificates_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "none.pem"
    with pytest.raises(SettingsError, match=r"broker.ca_file = .* cannot be used"):
        tls_context(BrokerSettings(ca_file=file))
    file.write_text("nothing")
    with pytest.raises(SettingsError, match=r"broker.ca_file = .* cannot be used"):
        tls_context(BrokerSettings(ca_file=file))
    with pytest.raises(SettingsError, match=r"broker.cert_file = .* cannot be used"):
        tls_context(BrokerSettings(cert_file=file, key_file=file))


def test_the_host_is_always_checked() -> None:
    assert tls_context(BrokerSettings()).check_hostname
