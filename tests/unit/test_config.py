"""Configuration: flags win over variables, variables over defaults, and what is wrong is said in one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from resurgo.config import Config, ConfigError, LogFormat, LogLevel, flag_of, variable_of


def test_the_defaults_are_valid_and_name_the_host() -> None:
    config = Config.load([], {})
    assert "resurgo-system" == config.namespace
    assert ("0.0.0.0", 9090) == config.metrics_address  # noqa: S104
    assert config.identity
    assert Config(identity=config.identity) == config


def test_flags_win_over_variables_and_variables_over_defaults() -> None:
    environ = {"RESURGO_LEASE_DURATION": "30", "RESURGO_LEASE_RENEW": "3", "RESURGO_SRA_DIR": "/sra"}
    config = Config.load(["--lease-duration", "21", "--log-format=text"], environ)
    assert (21.0, 3.0, Path("/sra"), LogFormat.TEXT) == (
        config.lease_duration,
        config.lease_renew,
        config.sra_dir,
        config.log_format,
    )


def test_variables_of_others_do_not_disturb() -> None:
    assert Config.load([], {"RESURGO_UNKNOWN": "x", "LEASE_DURATION": "x"}).lease_duration == 15.0


@pytest.mark.parametrize(
    ("text", "expected"), [("on", True), ("TRUE", True), ("1", True), ("off", False), ("no", False)]
)
def test_switches_take_the_usual_words(text: str, expected: bool) -> None:
    assert expected == Config.load(["--leader-election", text], {}).leader_election


def test_the_log_level_is_not_case_sensitive() -> None:
    assert LogLevel.DEBUG is Config.load([], {"RESURGO_LOG_LEVEL": "DEBUG"}).log_level


@pytest.mark.parametrize(
    ("argv", "environ", "message"),
    [
        (["--no-such"], {}, "unrecognized arguments: --no-such"),
        (["--lease-duration"], {}, "argument --lease-duration: expected one argument"),
        (["--lease-dur", "30"], {}, "unrecognized arguments: --lease-dur 30"),
        ([], {"RESURGO_LEASE_RENEW": "soon"}, "RESURGO_LEASE_RENEW 'soon': a number of seconds is wanted"),
        ([], {"RESURGO_LEASE_RENEW": "nan"}, "lease_renew nan must be a number of seconds above 0"),
        (["--site-connect-timeout", "-1"], {}, "site_connect_timeout -1 must be a number of seconds above 0"),
        (["--lease-renew", "5"], {}, "lease_renew 5 s must be below a third of lease_duration 15 s"),
        (["--leader-election", "maybe"], {}, "--leader-election 'maybe': on or off is wanted"),
        (["--log-format", "xml"], {}, "--log-format 'xml': one of json, text is wanted"),
        (["--metrics-listen", "9090"], {}, None),
        (["--metrics-listen", "host:"], {}, "metrics_listen 'host:' is not host:port, such as 0.0.0.0:9090"),
        (["--metrics-listen", "h:99999"], {}, "metrics_listen 'h:99999' is not host:port, such as 0.0.0.0:9090"),
        (
            ["--namespace", "No_Name"],
            {},
            "namespace 'No_Name' is no name: lowercase letters, digits and '-', at most 63",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(argv: list[str], environ: dict[str, str], message: str | None) -> None:
    if message is None:
        assert ("0.0.0.0", 9090) == Config.load(argv, environ).metrics_address  # noqa: S104
        return
    with pytest.raises(ConfigError) as caught:
        Config.load(argv, environ)
    assert message == str(caught.value)


def test_an_ipv6_address_may_stand_in_brackets() -> None:
    assert ("::1", 8080) == Config(metrics_listen="[::1]:8080").metrics_address


def test_every_setting_is_described_and_has_a_flag_and_a_variable() -> None:
    for setting in dataclasses.fields(Config):
        assert len(setting.metadata["help"]) > 20, setting.name
    assert ("--lease-duration", "RESURGO_LEASE_DURATION") == (flag_of("lease_duration"), variable_of("lease_duration"))
