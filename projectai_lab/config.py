"""Where to connect: arguments, environment and Temporal's profile file as one `LabConfig`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.envconfig import ClientConfigProfile, ClientConfigTLS

from projectai_lab.errors import ConfigError

DEFAULT_ADDRESS = "localhost:7233"
DEFAULT_NAMESPACE = "default"
DEFAULT_TASK_QUEUE = "project-ai-tasks"


@dataclass(frozen=True, kw_only=True)
class LabConfig:
    """Where to connect and as whom; the repr masks secrets.

    `address_source` says where the address came from: an argument, a variable's name, the profile
    or "default". Only "default" makes `Lab.open` start a server of its own.
    """

    address: str = DEFAULT_ADDRESS
    namespace: str = DEFAULT_NAMESPACE
    task_queue: str = DEFAULT_TASK_QUEUE
    api_key: str | None = field(default=None, repr=False)
    tls: ClientConfigTLS | None = field(default=None, repr=False)
    grpc_meta: Mapping[str, str] = field(default_factory=dict, repr=False)
    address_source: str = "default"

    @classmethod
    def load(
        cls,
        *,
        address: str | None = None,
        namespace: str | None = None,
        task_queue: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> LabConfig:
        """Read the settings: argument > TEMPORAL_ADDRESS > TEMPORAL_HOST > profile file > default.

        Namespace and task queue follow the same order. TLS, API key and metadata come through
        Temporal's own environment configuration (`temporalio.envconfig`), which `temporal` reads
        too. Raises `ConfigError` where two sources contradict each other or one cannot be read.

        >>> LabConfig.load(env={"TEMPORAL_HOST": "lab.internal:7233"}).address
        'lab.internal:7233'
        """
        env = os.environ if env is None else env
        env = {name: value.strip() for name, value in env.items() if value.strip()}
        profile = _load_profile(env)
        found, source = _pick_address(address, env, profile)
        return cls(
            address=found,
            namespace=namespace or profile.namespace or DEFAULT_NAMESPACE,
            task_queue=task_queue or env.get("TEMPORAL_TASK_QUEUE") or DEFAULT_TASK_QUEUE,
            api_key=profile.api_key,
            tls=profile.tls,
            grpc_meta=profile.grpc_meta,
            address_source=source,
        )

    @classmethod
    def of(cls, config: object) -> LabConfig:
        """Return the settings that an argument gives, those of the environment for None."""
        if isinstance(config, LabConfig | None):
            return config or cls.load()
        raise ConfigError(
            f'expected a LabConfig, got {config!r}: Lab.open(address="host:7233") takes an '
            "address, Lab.connect(LabConfig(address=…)) a whole configuration"
        )

    def __post_init__(self) -> None:
        for name in ("address", "namespace", "task_queue"):
            if not isinstance(value := getattr(self, name), str):
                raise ConfigError(f"{name} must be text, got {type(value).__name__}: {value!r}")
        if self.address_source == "default" and self.address != DEFAULT_ADDRESS:
            object.__setattr__(self, "address_source", "argument")
        _check_address(self.address, self.address_source)
        _check_files(self.tls)

    @property
    def is_default(self) -> bool:
        """Whether nobody said where to connect."""
        return self.address_source == "default"

    def connect_options(self) -> dict[str, Any]:
        """Return the arguments of `temporalio.client.Client.connect`."""
        profile = ClientConfigProfile(
            address=self.address,
            namespace=self.namespace,
            api_key=self.api_key,
            tls=self.tls,
            grpc_meta=self.grpc_meta,
        )
        return {**profile.to_client_connect_config()}

    def __repr__(self) -> str:
        secrets = {
            "api_key": "***" if self.api_key else None,
            "tls": "on" if self.tls and not self.tls.disabled else None,
            "grpc_meta": dict.fromkeys(self.grpc_meta, "***") or None,
        }
        shown = "".join(f", {name}={value!r}" for name, value in secrets.items() if value)
        return (
            f"LabConfig(address={self.address!r}, namespace={self.namespace!r}, "
            f"task_queue={self.task_queue!r}, address_source={self.address_source!r}{shown})"
        )


def _load_profile(env: Mapping[str, str]) -> ClientConfigProfile:
    path, tls = env.get("TEMPORAL_CONFIG_FILE"), env.get("TEMPORAL_TLS", "true")
    if path and not os.path.isfile(path):
        # The SDK passes over a missing file in silence and would connect to the default.
        raise ConfigError(f"TEMPORAL_CONFIG_FILE names {path!r}, which is not a file")
    if tls.lower() not in ("true", "1", "false", "0"):
        # The SDK passes over any other word in silence and would connect without TLS.
        raise ConfigError(f"TEMPORAL_TLS={tls} is neither true nor false")
    try:
        # Strict, because a misspelt key would otherwise be passed over in silence too.
        profile = ClientConfigProfile.load(override_env_vars=env, config_file_strict=True)
    except Exception as error:
        where = path or "the Temporal profile file or the TEMPORAL_* variables"
        # Not chained: the SDK's message quotes the line of the file, which may hold the API key.
        raise ConfigError(f"cannot read {where}: {_without_quotation(str(error))}") from None
    if profile.api_key and profile.tls and profile.tls.disabled:
        raise ConfigError(
            "an API key is set but TLS is disabled, so the key would travel in the clear: "
            "unset TEMPORAL_TLS or TEMPORAL_API_KEY (or `tls`/`api_key` in the profile)"
        )
    return profile


def _without_quotation(message: str) -> str:
    """Leave the lines out with which the TOML reader quotes the file (`2 | api_key = …`)."""
    lines = [line for line in message.splitlines() if not re.match(r"\s*\d*\s*\|", line)]
    return ": ".join(line.strip() for line in lines if line.strip())


def _pick_address(
    argument: str | None, env: Mapping[str, str], profile: ClientConfigProfile
) -> tuple[str, str]:
    if argument:
        return argument, "argument"
    by_address, by_host = env.get("TEMPORAL_ADDRESS"), env.get("TEMPORAL_HOST")
    if by_address and by_host and by_address != by_host:
        raise ConfigError(
            f"TEMPORAL_ADDRESS={by_address} and TEMPORAL_HOST={by_host} disagree: unset one of them"
        )
    if by_address:
        return by_address, "TEMPORAL_ADDRESS"
    if by_host:
        return by_host, "TEMPORAL_HOST"
    if profile.address:
        return profile.address, "profile"
    return DEFAULT_ADDRESS, "default"


def _check_address(address: str, source: str) -> None:
    # An IPv6 host stands in brackets. Without a port the SDK would silently connect to port 80.
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+]|[^\s/:\[\]]+):([0-9]{1,5})", address)
    if not match or not 0 < int(match[2]) < 65536:
        raise ConfigError(
            f"{source} gives the address {address!r}; it must be host:port, "
            f"for example {DEFAULT_ADDRESS}"
        )


def _check_files(tls: ClientConfigTLS | None) -> None:
    for source in (tls.server_root_ca_cert, tls.client_cert, tls.client_private_key) if tls else ():
        if isinstance(source, Path) and not source.is_file():
            raise ConfigError(f"the TLS settings name {str(source)!r}, which is not a file")
