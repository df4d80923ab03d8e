"""An array on disk: its groups' states under locks, its exports, its recovery points.

A state is changed only by a holder of the group's lock, by write + rename. What hosts may see follows from the states
alone, so `export` can be called again after any crash.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

JSON = dict[str, Any]


class ArrayError(Exception):
    """What the array answers to a request it can't or won't do; *code* is one of queries.ERRORS."""

    def __init__(self, code: int, description: str = "", hint: str = "") -> None:
        super().__init__(description)
        self.code, self.description, self.hint = code, description, hint


def write_json(path: Path, content: Any) -> None:
    """Replace the file at once."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(content, indent=1))
    partial.replace(path)


def read_json(path: Path, default: Any) -> Any:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return default


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock; the kernel frees it when the process dies."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@dataclass
class State:
    """What is remembered of a group at one end."""

    role: str  # source, target
    access: str  # rw, ro, none: what hosts may do with live
    devices: list[str]
    serial: int = 0  # number of the newest recovery point ever begun here
    epoch: int = 0  # changes when live or the role changes: a sync begun before it is void
    reversing: bool = False  # the old source has agreed to become a target
    recovered: JSON | None = None  # the recovery point live was made from: {id, time}
    test: JSON | None = None  # {key, point}
    pending: JSON | None = None  # a sync under way in the background: {id, time, epoch, due, began}


@dataclass
class Group:
    """One consistency group of one array."""

    array: Array
    name: str
    state: State = field(init=False)

    def __post_init__(self) -> None:
        self.load()

    @property
    def folder(self) -> Path:
        return self.array.root / self.name

    @property
    def live(self) -> Path:
        return self.folder / "live"

    def load(self) -> State:
        """Read the state again; without the lock it may be old at once."""
        self.state = State(**json.loads((self.folder / "state.json").read_text()))
        return self.state

    @contextlib.contextmanager
    def changing(self) -> Iterator[State]:
        """Lock, read, and write what the body made of the state, unless it raises; then export anew."""
        with locked(self.folder / ".lock"):
            before = asdict(self.load())
            yield self.state
            if asdict(self.state) != before:
                self.save()
        self.array.export()

    def save(self) -> None:
        """Write the state. Only for a holder of the lock."""
        write_json(self.folder / "state.json", asdict(self.state))

    def points(self) -> list[JSON]:
        """The finished recovery points, oldest first: {id, time}."""
        found = [p for p in (self.folder / "points").glob("*/point.json") if p.parent.name.isdigit()]
        return [
            {"id": p.parent.name, **json.loads(p.read_text())} for p in sorted(found, key=lambda p: int(p.parent.name))
        ]


@dataclass
class Array:
    """An array by its directory. ArrayError 1001 if it is not there."""

    root: Path

    def __post_init__(self) -> None:
        self.config: JSON = read_json(self.root / "array.json", {})
        if not self.config:
            raise ArrayError(1001, f"no array answers at {self.root}")

    @property
    def id(self) -> str:
        return str(self.config["id"])

    def groups(self) -> list[Group]:
        return [Group(self, p.parent.name) for p in sorted(self.root.glob("*/state.json"))]

    def group(self, name: str) -> Group:
        """ArrayError 1003 if there is none of that name."""
        if "/" in name or not (self.root / name / "state.json").is_file():
            raise ArrayError(1003, f"array {self.id} has no consistency group {name!r}")
        return Group(self, name)

    def export(self) -> None:
        """Make exports.json say what the states say."""
        with locked(self.root / ".exports.lock"):
            exports = {}
            for group in self.groups():
                state = group.state
                for device in state.devices:
                    where = {"dir": f"{group.name}/live/{device}", "access": state.access}
                    exports[f"/{group.name}/{device}"] = where
                    if state.test is not None:
                        below = f"{group.name}/tests/{state.test['key']}/{device}"
                        exports[f"/{below}"] = {"dir": below, "access": "rw"}
            wanted = {"server": self.config["server"], "exports": exports}
            if read_json(self.root / "exports.json", None) != wanted:
                write_json(self.root / "exports.json", wanted)

    def setting(self, name: str, default: float) -> float:
        return float(read_json(self.root / "settings.json", {}).get(name, default))
