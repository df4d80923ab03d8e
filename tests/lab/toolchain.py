"""Where the lab's programs come from: KUBEBUILDER_ASSETS, PATH, the cache, else a build from pinned modules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lab.gobuild import GoProgram, Say, ensure_built, say_on_stderr

_LAB = Path(__file__).parent
ROOT = _LAB.parents[1]
_KUBE_STAMP = "-s -w " + " ".join(
    f"-X k8s.io/component-base/version.{name}={value}"
    for name, value in (("gitVersion", "v1.36.2"), ("gitMajor", "1"), ("gitMinor", "36"))
)


@dataclass(frozen=True, slots=True)
class Source:
    """How a program is found: what builds it, and which copies from outside are good enough."""

    program: GoProgram
    version_args: tuple[str, ...] = ()  # none: only our own build will do
    at_least: tuple[int, int] = (0, 0)


SOURCES = {
    "kube-apiserver": Source(
        GoProgram(
            *("kube-apiserver", _LAB / "build" / "kube", "k8s.io/kubernetes/cmd/kube-apiserver"),
            *("about 5 minutes on two cores", _KUBE_STAMP),
        ),
        ("--version",),
        (1, 30),  # ValidatingAdmissionPolicy is served by default from here on
    ),
    "kubectl": Source(
        GoProgram(
            *("kubectl", _LAB / "build" / "kube", "k8s.io/kubernetes/cmd/kubectl"),
            *("about 2 minutes on two cores", _KUBE_STAMP),
        ),
        ("version", "--client"),
        (1, 28),
    ),
    "etcd": Source(
        GoProgram("etcd", _LAB / "build" / "etcd", ".", "about 40 seconds on two cores"),
        ("--version",),
        (3, 5),
    ),
    "labsim": Source(GoProgram("labsim", _LAB / "labsim", ".", "about 40 seconds on two cores")),
}


class Toolchain:
    """Finds programs, once each, and builds what is missing. Safe to share and to make again."""

    def __init__(self, cache: Path | None = None, say: Say = say_on_stderr) -> None:
        """Use *cache*, else RESURGO_LAB_CACHE, else `.lab/bin` in the project; *say* tells people about builds."""
        self.cache = cache or Path(os.environ.get("RESURGO_LAB_CACHE") or ROOT / ".lab" / "bin")
        self._say = say
        self._found: dict[str, Path] = {}

    def find(self, name: str) -> Path:
        """Return the program *name* (a key of SOURCES), built first if need be. BuildFailedError says why not."""
        if name not in self._found:
            source = SOURCES[name]
            self._found[name] = _outside(source) or ensure_built(source.program, self.cache, self._say)
        return self._found[name]

    def prepare(self, *names: str) -> None:
        """Find every one of *names* (all by default), so that later calls take no time."""
        for name in names or SOURCES:
            self.find(name)

    def find_optional(self, name: str) -> Path | None:
        """Return a program of the system that some tests need (promtool, helm), or None."""
        found = shutil.which(name)
        return Path(found) if found else None


def _outside(source: Source) -> Path | None:
    if not source.version_args:
        return None
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    candidates = [Path(assets) / source.program.name] if assets else []
    on_path = shutil.which(source.program.name)
    candidates += [Path(on_path)] if on_path else []
    return next((c for c in candidates if _fits(c, source)), None)


def _fits(path: Path, source: Source) -> bool:
    try:
        done = subprocess.run([path, *source.version_args], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    match = re.search(r"\bv?(\d+)\.(\d+)\.\d+", done.stdout)
    return done.returncode == 0 and bool(match and (int(match[1]), int(match[2])) >= source.at_least)
