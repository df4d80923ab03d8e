"""Logs of the operator: one constant dotted event name per line, details as keys, JSON by default.

`log.info("step.done", extra={"run": ..., "step": ..., "seconds": ...})`. Keys that name a thing are spelled as in KEYS
and come in that order, so that a query written once keeps working. Values of Secrets are never logged.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import IO, Any

KEYS = (
    "namespace", "plan", "run", "group", "pair", "mapping", "site", "vm", "stage", "step", "op", "object", "reason",
    "attempt", "after", "seconds", "error",
)  # fmt: skip
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_KOPF = frozenset({"settings", "k8s_skip", "k8s_ref"})  # what kopf hangs on its records for itself
# These write bodies of answers, Secrets among them, at DEBUG.
_TALKATIVE = ("kubernetes", "aiohttp", "aiohttp_retry", "urllib3", "asyncio")


def details(record: logging.LogRecord) -> dict[str, Any]:
    """The keys of one record: those of KEYS first and in that order, then the others by name."""
    found = {key: value for key, value in vars(record).items() if key not in _STANDARD | _KOPF}
    ordered = {key: found.pop(key) for key in KEYS if key in found}
    ordered |= {key: found[key] for key in sorted(found)}
    if isinstance(reference := getattr(record, "k8s_ref", None), dict) and "object" not in ordered:
        ordered["object"] = "/".join(str(reference[key]) for key in ("kind", "namespace", "name") if reference.get(key))
    return {
        key: value if isinstance(value, str | int | float | bool | None) else str(value)
        for key, value in ordered.items()
    }


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, event, the keys, and trace if there was an exception."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        } | details(record)
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """The same for people: time level event key=value."""

    def format(self, record: logging.LogRecord) -> str:
        pairs = " ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in details(record).items())
        line = f"{_time(record)} {record.levelname:<7} {record.getMessage()} {pairs}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(*, level: str = "info", style: str = "json", stream: IO[str] | None = None) -> None:
    """Make the root logger write to *stream* (stderr). Replaces what was configured before; safe to repeat."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # kopf tells each call of each handler at INFO; what matters to people is told by the loops themselves.
    logging.getLogger("kopf").setLevel(logging.DEBUG if level.lower() == "debug" else logging.WARNING)
