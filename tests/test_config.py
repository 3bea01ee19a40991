"""Where a Lab connects: the order of the sources, their conflicts, their secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.envconfig import ClientConfigTLS

from projectai_lab.config import DEFAULT_ADDRESS, LabConfig
from projectai_lab.errors import ConfigError, LabError

PROFILES = """
[profile.default]
address = "profile.example:7233"
namespace = "from-profile"

[profile.cloud]
address = "cloud.example:7233"
namespace = "team.account"
api_key = "top-secret-key"

[profile.cloud.grpc_meta]
x-team = "top-secret-team"
"""


@pytest.fixture
def profile_file(tmp_path: Path) -> str:
    """Return the path of a file with two profiles."""
    file = tmp_path / "temporal.toml"
    file.write_text(PROFILES)
    return str(file)


def written(folder: Path, text: str) -> dict[str, str]:
    """Write a profile file and return the environment that names it."""
    file = folder / "temporal.toml"
    file.write_text(text)
    return {"TEMPORAL_CONFIG_FILE": str(file)}


def test_with_nothing_set_the_defaults_hold_and_say_so() -> None:
    config = LabConfig.load(env={})
    assert (config.address, config.namespace) == ("localhost:7233", "default")
    assert config.task_queue == "project-ai-tasks"
    assert config.is_default
    assert config.connect_options()["target_host"] == "localhost:7233"


def test_each_address_source_beats_the_ones_behind_it(profile_file: str) -> None:
    env = {"TEMPORAL_CONFIG_FILE": profile_file}
    found = [LabConfig.load(env=env)]
    env["TEMPORAL_HOST"] = "host.example:7233"
    found.append(LabConfig.load(env=env))
    found.append(LabConfig.load(env={**env, "TEMPORAL_ADDRESS": "host.example:7233"}))
    found.append(LabConfig.load(env=env, address="argument.example:7233"))
    assert [(one.address, one.address_source) for one in found] == [
        ("profile.example:7233", "profile"),
        ("host.example:7233", "TEMPORAL_HOST"),
        ("host.example:7233", "TEMPORAL_ADDRESS"),
        ("argument.example:7233", "argument"),
    ]
    assert not any(one.is_default for one in found)


def test_an_argument_settles_a_conflict_of_the_variables() -> None:
    env = {"TEMPORAL_ADDRESS": "a.example:1", "TEMPORAL_HOST": "b.example:2"}
    assert LabConfig.load(env=env, address="c.example:3").address == "c.example:3"


def test_two_variables_that_disagree_are_both_named() -> None:
    env = {"TEMPORAL_ADDRESS": "a.example:1", "TEMPORAL_HOST": "b.example:2"}
    with pytest.raises(ConfigError, match="unset one of them") as caught:
        LabConfig.load(env=env)
    assert "TEMPORAL_ADDRESS=a.example:1" in str(caught.value)
    assert "TEMPORAL_HOST=b.example:2" in str(caught.value)
    assert isinstance(caught.value, LabError)


def test_namespace_goes_argument_then_variable_then_profile(profile_file: str) -> None:
    env = {"TEMPORAL_CONFIG_FILE": profile_file}
    assert LabConfig.load(env=env).namespace == "from-profile"
    env["TEMPORAL_NAMESPACE"] = "from-variable"
    assert LabConfig.load(env=env).namespace == "from-variable"
    assert LabConfig.load(env=env, namespace="from-argument").namespace == "from-argument"


def test_task_queue_goes_argument_then_variable() -> None:
    env = {"TEMPORAL_TASK_QUEUE": "from-variable"}
    assert LabConfig.load(env=env).task_queue == "from-variable"
    assert LabConfig.load(env=env, task_queue="from-argument").task_queue == "from-argument"


def test_without_env_the_process_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_HOST", "here.example:7233")
    assert LabConfig.load().address == "here.example:7233"


def test_a_blank_variable_counts_as_unset_and_blanks_around_a_value_are_dropped() -> None:
    env = {"TEMPORAL_ADDRESS": "  ", "TEMPORAL_HOST": " host.example:7233\n", "TEMPORAL_TLS": ""}
    assert LabConfig.load(env=env).address == "host.example:7233"
    assert LabConfig.load(env={"TEMPORAL_CONFIG_FILE": " "}).is_default


@pytest.mark.parametrize(
    "address",
    [
        "localhost",
        "localhost:",
        ":7233",
        "localhost:http",
        "localhost:0",
        "localhost:65536",
        "localhost:²",
        "http://localhost:7233",
        "local host:7233",
        "::1:7233",
    ],
)
@pytest.mark.parametrize("source", ["TEMPORAL_HOST", "TEMPORAL_ADDRESS"])
def test_an_address_that_is_not_host_and_port_is_refused(address: str, source: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LabConfig.load(env={source: address})
    assert f"{source} gives the address {address!r}" in str(caught.value)
    assert f"it must be host:port, for example {DEFAULT_ADDRESS}" in str(caught.value)


@pytest.mark.parametrize("address", ["temporal:7233", "10.0.0.7:1", "a-b.c_d.example:65535"])
def test_names_and_numbers_are_addresses(address: str) -> None:
    assert LabConfig.load(address=address).address == address


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert LabConfig.load(env={"TEMPORAL_HOST": "[::1]:7233"}).address == "[::1]:7233"


def test_a_config_made_by_hand_is_checked_too_and_is_not_a_default() -> None:
    with pytest.raises(ConfigError, match="argument gives the address 'localhost'"):
        LabConfig(address="localhost")
    made = LabConfig(address="made.example:7233")
    assert (made.address_source, made.is_default) == ("argument", False)
    assert LabConfig().is_default


def test_a_named_profile_brings_address_key_and_metadata(profile_file: str) -> None:
    env = {"TEMPORAL_CONFIG_FILE": profile_file, "TEMPORAL_PROFILE": "cloud"}
    config = LabConfig.load(env=env)
    options = config.connect_options()
    assert (options["target_host"], options["namespace"]) == ("cloud.example:7233", "team.account")
    assert options["api_key"] == "top-secret-key"
    assert options["tls"], "an API key turns TLS on"
    assert options["rpc_metadata"]["x-team"] == "top-secret-team"


def test_secrets_never_reach_the_repr(profile_file: str) -> None:
    env = {"TEMPORAL_CONFIG_FILE": profile_file, "TEMPORAL_PROFILE": "cloud"}
    env |= {"TEMPORAL_TLS_CLIENT_KEY_DATA": "top-secret-pem", "TEMPORAL_TLS": "true"}
    for text in (repr(LabConfig.load(env=env)), str(LabConfig.load(env=env))):
        assert "top-secret" not in text
        assert "api_key='***'" in text
        assert "tls='on'" in text
        assert "grpc_meta={'x-team': '***'}" in text


def test_without_secrets_the_repr_shows_none() -> None:
    assert repr(LabConfig.load(env={})) == (
        "LabConfig(address='localhost:7233', namespace='default', task_queue='project-ai-tasks', "
        "address_source='default')"
    )


def test_tls_variables_reach_the_connection(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("a certificate")
    env = {
        "TEMPORAL_TLS": "true",
        "TEMPORAL_TLS_SERVER_NAME": "inside.example",
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(authority),
        "TEMPORAL_TLS_CLIENT_CERT_DATA": "client certificate",
        "TEMPORAL_TLS_CLIENT_KEY_DATA": "client key",
    }
    tls = LabConfig.load(env=env).connect_options()["tls"]
    assert tls.domain == "inside.example"
    assert tls.server_root_ca_cert == b"a certificate"
    assert (tls.client_cert, tls.client_private_key) == (b"client certificate", b"client key")


def test_tls_switched_off_stays_off() -> None:
    assert not LabConfig.load(env={"TEMPORAL_TLS": "false"}).connect_options().get("tls")


def test_a_word_that_is_no_switch_does_not_turn_tls_off_in_silence() -> None:
    with pytest.raises(ConfigError, match="TEMPORAL_TLS=yes is neither true nor false"):
        LabConfig.load(env={"TEMPORAL_TLS": "yes"})


def test_an_api_key_never_travels_in_the_clear() -> None:
    with pytest.raises(ConfigError, match=r"TLS is disabled.*unset TEMPORAL_TLS or TEMPORAL_API"):
        LabConfig.load(env={"TEMPORAL_API_KEY": "k", "TEMPORAL_TLS": "false"})


def test_a_missing_certificate_is_named() -> None:
    env = {"TEMPORAL_TLS_SERVER_CA_CERT_PATH": "no-such-ca.pem"}
    with pytest.raises(ConfigError, match=r"TLS settings name 'no-such-ca\.pem', which is not a"):
        LabConfig.load(env=env)
    with pytest.raises(ConfigError, match=r"no-such-key\.pem"):
        LabConfig(tls=ClientConfigTLS(client_private_key=Path("no-such-key.pem")))


def test_a_certificate_given_twice_is_a_conflict_that_names_both() -> None:
    env = {"TEMPORAL_TLS_CLIENT_CERT_PATH": "a.pem", "TEMPORAL_TLS_CLIENT_CERT_DATA": "x"}
    with pytest.raises(ConfigError, match="CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_CERT_DATA"):
        LabConfig.load(env=env)


def test_a_missing_profile_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"CONFIG_FILE names 'nowhere\.toml', which is not a f"):
        LabConfig.load(env={"TEMPORAL_CONFIG_FILE": "nowhere.toml"})


def test_a_misspelt_profile_name_is_named(profile_file: str) -> None:
    env = {"TEMPORAL_CONFIG_FILE": profile_file, "TEMPORAL_PROFILE": "clowd"}
    with pytest.raises(ConfigError, match=r"cannot read .*temporal\.toml: Profile 'clowd' not f"):
        LabConfig.load(env=env)
    with pytest.raises(ConfigError, match="Profile 'clowd' not found"):
        LabConfig.load(env={"TEMPORAL_PROFILE": "clowd"})


def test_a_misspelt_key_in_the_profile_is_named_with_the_known_ones(tmp_path: Path) -> None:
    env = written(tmp_path, '[profile.default]\nadress = "x.example:1"\n')
    with pytest.raises(ConfigError, match=r"line 2.*unknown field `adress`, expected one of `ad"):
        LabConfig.load(env=env)


@pytest.mark.parametrize("line", ['api_key = "top-secret', 'api_kee = "top-secret"'])
def test_a_broken_profile_file_is_explained_without_quoting_its_secrets(
    tmp_path: Path, line: str
) -> None:
    with pytest.raises(ConfigError, match="TOML parse error at line 2") as caught:
        LabConfig.load(env=written(tmp_path, f"[profile.default]\n{line}\n"))
    assert "top-secret" not in str(caught.value)
    assert caught.value.__suppress_context__, "a traceback would quote the file"


def test_a_bad_address_in_the_profile_is_traced_to_it(tmp_path: Path) -> None:
    env = written(tmp_path, '[profile.default]\naddress = "nowhere"\n')
    with pytest.raises(ConfigError, match="profile gives the address 'nowhere'"):
        LabConfig.load(env=env)
