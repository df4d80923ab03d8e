"""Logs: stable keys in a stable order, one line each, nothing of Secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import kopf
import pytest

from resurgo import log


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    names = [*log._TALKATIVE, "kopf"]
    levels = {name: logging.getLogger(name).level for name in names}
    yield io.StringIO()
    root.handlers[:], root.level = before, level
    for name in names:
        logging.getLogger(name).setLevel(levels[name])


def test_a_line_holds_the_event_and_its_keys_in_order(stream: io.StringIO) -> None:
    log.configure(stream=stream)
    logging.getLogger("resurgo.engine").info(
        "step.done", extra={"seconds": 1.5, "zeta": 1, "step": "Failover", "run": "r"}
    )
    line = json.loads(stream.getvalue())
    assert ["time", "level", "logger", "event", "run", "step", "seconds", "zeta"] == list(line)
    assert ("info", "resurgo.engine", "step.done", "Failover", 1.5) == (
        line["level"],
        line["logger"],
        line["event"],
        line["step"],
        line["seconds"],
    )
    assert line["time"].endswith("Z")


def test_an_exception_stays_on_the_line(stream: io.StringIO) -> None:
    log.configure(stream=stream)
    try:
        int("two\nlines")
    except ValueError:
        logging.getLogger("resurgo").exception("loop.escaped")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: invalid literal" in json.loads(line)["trace"]


def test_objects_of_kopf_are_named_as_ours(stream: io.StringIO) -> None:
    log.configure(stream=stream)
    reference = {"kind": "Site", "name": "berlin", "uid": "1", "namespace": None}
    logging.getLogger("kopf.objects").warning(
        "late", extra={"k8s_ref": reference, "settings": kopf.OperatorSettings(), "k8s_skip": True}
    )
    line = json.loads(stream.getvalue())
    assert "Site/berlin" == line["object"]
    assert not {"settings", "k8s_skip", "k8s_ref"} & set(line)


def test_people_get_one_line_of_text(stream: io.StringIO) -> None:
    log.configure(style="text", stream=stream)
    logging.getLogger("resurgo").warning("lease.attempt_failed", extra={"error": "no answer"})
    assert stream.getvalue().endswith('WARNING lease.attempt_failed error="no answer"\n')


def test_clients_that_log_bodies_are_silent_even_at_debug(stream: io.StringIO) -> None:
    log.configure(level="debug", stream=stream)
    logging.getLogger("kubernetes.aio.client.rest").debug("response body: secret")
    logging.getLogger("aiohttp.client").debug("response body: secret")
    logging.getLogger("resurgo").debug("call")
    assert ["call"] == [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
