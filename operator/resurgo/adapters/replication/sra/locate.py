"""Which program may be run as an adapter: one of the folder the operator was given, found by its name only."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from resurgo.domain.errors import InvalidPlan, Missing, NotAllowed

_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_]*")


def find_command(sra_dir: Path, name: str) -> Path:
    """Return the executable ``<sra_dir>/<name>/command``.

    InvalidPlan for a name that is none (no dots, no separators), Missing where there is no such adapter, NotAllowed for
    a file that a link leads out of the folder, that is not executable, or that others than its owner may write.
    """
    if not _NAME.fullmatch(name):
        raise InvalidPlan(f"{name!r} is no name of an SRA", hint="letters, digits, - and _ only")
    try:
        root = sra_dir.resolve(strict=True)
        command = (root / name / "command").resolve(strict=True)
    except OSError as error:
        installed = ", ".join(sorted(p.parent.name for p in sra_dir.glob("*/command"))) or "none"
        raise Missing(f"there is no SRA {name} in {sra_dir}", hint=f"installed: {installed}") from error
    if not command.is_relative_to(root):
        raise NotAllowed(f"SRA {name} is a link out of {sra_dir}", hint="install it there as a plain file")
    if not command.is_file() or not os.access(command, os.X_OK):
        raise NotAllowed(f"{command} is not an executable file")
    for path in (command, *[p for p in command.parents if p.is_relative_to(root)]):
        if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise NotAllowed(f"{path} may be written by others than its owner", hint="chmod go-w")
    return command
