"""The operator's configuration: one frozen object, from flags, then RESURGO_* variables, then defaults.

Each setting is one field with its unit, default and reason; flags, variables and `--help` are made from them.
"""

from __future__ import annotations

import argparse
import math
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

PREFIX = "RESURGO_"
HELP = "help"
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SWITCH = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}


class ConfigError(Exception):
    """One line that says which setting is wrong, where it came from and what would be right."""


class LogFormat(StrEnum):
    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Config:
    """Checked when made: who holds a Config holds a valid one."""

    namespace: str = field(
        default="resurgo-system", metadata={HELP: "the operator's own namespace, where its Lease lies"}
    )
    sra_dir: Path = field(
        default=Path("/opt/resurgo/sra"),
        metadata={HELP: "folder of storage adapters; a manifest names one of its entries, never a path"},
    )
    state_dir: Path = field(
        default=Path("/var/lib/resurgo"),
        metadata={HELP: "scratch folder of adapter processes; nothing in it has to survive"},
    )
    metrics_listen: str = field(default="0.0.0.0:9090", metadata={HELP: "host:port of /metrics, /healthz and /readyz"})
    leader_election: bool = field(
        default=True, metadata={HELP: "wait for the Lease before acting; off only where one process is certain"}
    )
    lease_name: str = field(default="resurgo", metadata={HELP: "name of the Lease; operators that share it take turns"})
    lease_duration: float = field(
        default=15.0, metadata={HELP: "seconds after which a silent leader is replaced: the longest gap in service"}
    )
    lease_renew: float = field(
        default=2.0, metadata={HELP: "seconds between renewals, below a third of the duration: two may get lost"}
    )
    identity: str = field(
        default="", metadata={HELP: "name in the Lease and in events; the host name (of a pod: its name) if empty"}
    )
    kube_request_timeout: float = field(
        default=30.0, metadata={HELP: "seconds for one call to the API server, from connect to the last byte"}
    )
    site_connect_timeout: float = field(
        default=10.0, metadata={HELP: "seconds to reach a vCenter: a dead site may cost no more"}
    )
    site_request_timeout: float = field(
        default=60.0, metadata={HELP: "seconds for one call to a vCenter whose Site does not set a limit"}
    )
    site_probe_interval: float = field(
        default=5.0, metadata={HELP: "seconds between two looks whether a vCenter answers"}
    )
    shutdown_grace: float = field(
        default=20.0, metadata={HELP: "seconds to end after SIGTERM, below the pod's terminationGracePeriodSeconds"}
    )
    log_level: LogLevel = field(default=LogLevel.INFO, metadata={HELP: "debug, info, warning or error"})
    log_format: LogFormat = field(default=LogFormat.JSON, metadata={HELP: "json for machines, text for people"})

    def __post_init__(self) -> None:
        if not self.identity:
            object.__setattr__(self, "identity", socket.gethostname())
        for name in ("namespace", "lease_name"):
            if not _LABEL.fullmatch(getattr(self, name)):
                raise ConfigError(
                    f"{name} {getattr(self, name)!r} is no name: lowercase letters, digits and '-', at most 63"
                )
        for name in (f.name for f in fields(self) if isinstance(f.default, float)):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ConfigError(f"{name} {getattr(self, name):g} must be a number of seconds above 0")
        if self.lease_renew >= self.lease_duration / 3:
            raise ConfigError(
                f"lease_renew {self.lease_renew:g} s must be below a third of lease_duration {self.lease_duration:g} s"
            )
        _ = self.metrics_address

    @property
    def metrics_address(self) -> tuple[str, int]:
        """Host and port of `metrics_listen`; port 0 lets the system choose."""
        host, _, port = self.metrics_listen.rpartition(":")
        if not port.isdecimal() or int(port) > 65_535:
            raise ConfigError(f"metrics_listen {self.metrics_listen!r} is not host:port, such as 0.0.0.0:9090")
        return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104

    @classmethod
    def load(cls, argv: Sequence[str], environ: Mapping[str, str]) -> Config:
        """Flags win over variables, variables over defaults. ConfigError for what is unknown or wrong."""
        given = vars(_parser().parse_args(argv))
        values: dict[str, Any] = {}
        for setting in fields(cls):
            flag, variable = flag_of(setting.name), variable_of(setting.name)
            if given.get(setting.name) is not None:
                values[setting.name] = _parse(setting.default, given[setting.name], flag)
            elif variable in environ:
                values[setting.name] = _parse(setting.default, environ[variable], variable)
        return cls(**values)


def flag_of(name: str) -> str:
    """The command line's spelling of a setting."""
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """The environment's spelling of a setting."""
    return PREFIX + name.upper()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise ConfigError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="resurgo", description="The Resurgo operator.", allow_abbrev=False)
    for setting in fields(Config):
        default: Any = setting.default
        kind = type(default)
        shown = {True: "on", False: "off"}[default] if kind is bool else f"{default}" or "the host name"
        parser.add_argument(
            flag_of(setting.name),
            metavar={bool: "on|off", float: "SECONDS", Path: "DIR"}.get(kind, "VALUE"),
            help=f"{setting.metadata[HELP]} (default {shown}; {variable_of(setting.name)})",
        )
    return parser


def _parse(default: Any, text: str, where: str) -> Any:
    """*text* as the type of *default*."""
    text = text.strip()
    try:
        if isinstance(default, bool):
            return _SWITCH[text.lower()]
        return type(default)(text.lower() if isinstance(default, StrEnum) else text)
    except (ValueError, KeyError) as exc:
        raise ConfigError(f"{where} {text!r}: {_wanted(default)} is wanted") from exc


def _wanted(default: Any) -> str:
    if isinstance(default, bool):
        return "on or off"
    return "one of " + ", ".join(type(default)) if isinstance(default, StrEnum) else "a number of seconds"
