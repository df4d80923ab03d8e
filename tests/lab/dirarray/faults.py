"""Faults on demand, and the counters that tests compare with what they caused."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store import locked, read_json, write_json

_WHOLE = {"exit", "truncate", "unreachable"}  # what can't happen to one group of a command alone


@dataclass(frozen=True)
class Effect:
    """What goes wrong now: every key of the file's effects as an attribute, None where it is not wanted."""

    wanted: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.wanted.get(name)


def die() -> None:
    """Die as a crash does: no answer, no clean-up."""
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    """Never return."""
    while True:
        signal.pause()


def of_command(array: Path, command: str, groups: Sequence[str]) -> Effect:
    """The merged effects of the faults that hit this call as a whole, each counted."""
    return _merged(array, command, lambda e: bool(_WHOLE & e["effect"].keys()) or not groups, {None, *groups})


def of_item(array: Path, command: str, group: str) -> Effect:
    """The merged effects of the faults that hit one group of this call, each counted."""
    return _merged(array, command, lambda e: not _WHOLE & e["effect"].keys(), {None, group})


def _merged(array: Path, command: str, scope: Callable[[dict[str, Any]], bool], groups: set[str | None]) -> Effect:
    merged: dict[str, Any] = {}
    if not (array / "faults.json").exists():
        return Effect(merged)
    with locked(array / ".faults.lock"):
        hits = read_json(array / "faults.hits.json", {})
        for entry in read_json(array / "faults.json", []):
            if entry["command"] not in {command, "*"} or entry.get("group") not in groups or not scope(entry):
                continue
            name = json.dumps(entry, sort_keys=True)
            if entry.get("times") is not None and hits.get(name, 0) >= entry["times"]:
                continue
            hits[name] = hits.get(name, 0) + 1
            merged.update(entry["effect"])
        write_json(array / "faults.hits.json", hits)
    return Effect(merged)


def unreachable(array: Path) -> bool:
    """Whether the whole array does not answer, as its peer sees it; does not count as a hit."""
    entries = read_json(array / "faults.json", [])
    return any(e["command"] == "*" and e.get("group") is None and e["effect"].get("unreachable") for e in entries)


def record(array: Path, event: str, command: str, group: str, **facts: Any) -> None:
    """Count a call or an effect of *command* on *group*, and append it to calls.jsonl."""
    with locked(array / ".counters.lock"):
        if event in {"call", "effect"}:
            counters = read_json(array / "counters.json", {})
            entry = counters.setdefault(f"{command} {group}".strip(), {"calls": 0, "effects": 0})
            entry[f"{event}s"] += 1
            write_json(array / "counters.json", counters)
        with (array / "calls.jsonl").open("a") as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            line = {
                "time": time.time(),
                "event": event,
                "command": command,
                "group": group,
                "pid": os.getpid(),
                **facts,
            }
            log.write(json.dumps(line) + "\n")
