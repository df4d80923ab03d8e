"""Set-up of arrays, and replication on the array's own schedule: what an administrator does, not a recovery product."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from pathlib import Path

import faults
import syncing
from store import Array, ArrayError, Group, State, locked, read_json, write_json


def main(arguments: list[str]) -> int:
    """Run one administrative action; 0 if it is done."""
    parser = argparse.ArgumentParser(prog="command", description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--init", metavar="ARRAY", type=Path, help="make an array, or add a group to one")
    action.add_argument(
        "--schedule-sync", metavar="ARRAY", type=Path, help="replicate a group as the array does by itself"
    )
    action.add_argument("--install", metavar="SRA_DIR", type=Path, help="copy this adapter to SRA_DIR/dirarray")
    parser.add_argument("--array-id")
    parser.add_argument("--server", help="the name of its NFS server")
    parser.add_argument("--peer", type=Path, help="the peer array's directory")
    parser.add_argument("--peer-id")
    parser.add_argument("--group")
    parser.add_argument("--device", action="append", default=[], help="may be repeated")
    parser.add_argument("--role", choices=["source", "target"])
    parser.add_argument("--every", type=float, help="seconds between two syncs; without it there is one")
    options = parser.parse_args(arguments)
    try:
        if options.install is not None:
            install(options.install)
        elif options.init is not None:
            init(options)
        else:
            schedule(options.schedule_sync, options.group, options.peer, options.every)
    except ArrayError as error:
        print(f"{error.description or error.code}", file=sys.stderr)
        return 1
    return 0


def init(options: argparse.Namespace) -> None:
    """Make the array if it is not there, and the group in it if one is named. Safe to repeat; data is left alone."""
    root: Path = options.init
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / ".init.lock"):
        config = read_json(root / "array.json", {})
        given = {
            "id": options.array_id,
            "server": options.server,
            "peer": str(options.peer.absolute()) if options.peer else None,
            "peerId": options.peer_id,
        }
        config.update({k: v for k, v in given.items() if v is not None})
        if missing := [k for k in given if k not in config]:
            raise ArrayError(100, f"a new array needs {', '.join(missing)}")
        write_json(root / "array.json", config)
        if options.group:
            if not options.device or not options.role:
                raise ArrayError(100, "a group needs --device and --role")
            _add_group(root / options.group, options.role, options.device)
    Array(root).export()


def _add_group(folder: Path, role: str, devices: list[str]) -> None:
    for device in devices:
        (folder / "live" / device).mkdir(parents=True, exist_ok=True)
    if not (folder / "state.json").exists():
        state = State(role=role, access="rw" if role == "source" else "none", devices=devices)
        write_json(folder / "state.json", vars(state))


def schedule(root: Path, name: str | None, peer: Path | None, every: float | None) -> None:
    """Sync one group, or all; with *every* again and again until a signal ends it, whatever the peer answers."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    array = Array(root)
    peer = peer or Path(array.config["peer"])
    while True:
        for group in array.groups() if name is None else [array.group(name)]:
            try:
                _sync_now(group, peer)
            except ArrayError as error:
                if every is None:
                    raise
                print(f"{group.name}: {error.description or error.code}", flush=True)
        if every is None:
            return
        time.sleep(every)


def _sync_now(group: Group, peer: Path) -> None:
    syncing.start(group, peer, lambda: None)
    faults.record(group.array.root, "effect", "schedule", group.name)


def install(sra_dir: Path) -> None:
    """Put a copy of this adapter where a host finds it by name, writable by its owner only."""
    where = sra_dir / "dirarray"
    where.mkdir(parents=True, exist_ok=True)
    where.chmod(0o755)
    for file in Path(__file__).parent.iterdir():
        if file.suffix == ".py" or file.name == "command":
            shutil.copyfile(file, where / file.name)
            if file.name == "command":  # the interpreter that runs us: no search for one at each command
                body = file.read_text(encoding="utf-8").partition("\n")[2]
                (where / file.name).write_text(f"#!{sys.executable} -SE\n{body}", encoding="utf-8")
            (where / file.name).chmod(0o755 if file.name == "command" else 0o644)
