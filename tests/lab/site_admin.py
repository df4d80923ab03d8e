"""The admin port of one simulated vCenter: what it holds, what it was asked, and trouble on demand."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class SiteAdmin:
    """A client of the admin port at *url*. Each call is one HTTP request; RuntimeError carries what labsim objected."""

    def __init__(self, url: str) -> None:
        """Remember the address; nothing is connected."""
        self.url = url

    def healthy(self) -> bool:
        """Whether the simulator answers."""
        try:
            self.ask("GET", "/healthz")
        except (OSError, RuntimeError):
            return False
        return True

    def state(self) -> dict[str, Any]:
        """Return `{"vms": [...], "datastores": [...], "sessions": ...}`."""
        return dict(self.ask("GET", "/state"))

    def vms(self) -> dict[str, dict[str, Any]]:
        """Return the registered VMs by name."""
        return {vm["name"]: vm for vm in self.state()["vms"]}

    def datastores(self) -> dict[str, dict[str, Any]]:
        """Return the mounted datastores by name."""
        return {datastore["name"]: datastore for datastore in self.state()["datastores"]}

    def counters(self) -> dict[str, Any]:
        """Return `{"calls", "faults", "peak", "mutations", "effects", "panics"}`."""
        return dict(self.ask("GET", "/counters"))

    def reset_counters(self) -> None:
        """Count from zero again."""
        self.ask("POST", "/counters/reset")

    def rules(self, *rules: Mapping[str, Any]) -> None:
        """Put faults and delays in force, instead of earlier ones: `{"match": {...}, "max": n, "effect": {...}}`."""
        self.ask("PUT", "/rules", list(rules))

    def clear_rules(self) -> None:
        """End all faults and delays."""
        self.ask("DELETE", "/rules")

    def outage(self, mode: str, match: str = "", count: int = 0) -> None:
        """Let the site fail: none, refuse, drop, hang, 503, lostReply; for calls that *match*, *count* of them."""
        self.ask("PUT", "/outage", {"mode": mode, "match": match, "count": count})

    def expire_sessions(self) -> None:
        """End every login session."""
        self.ask("PUT", "/sessions/expire", {})

    def guest(self, vm: str, **behaviour: Any) -> None:
        """Change how the guest of *vm* behaves, in the words of the lab file."""
        self.ask("PUT", f"/guests/{urllib.parse.quote(vm, safe='')}", behaviour)

    def certificate(self, cert: Path, key: Path) -> None:
        """Let the vCenter show another certificate from now on."""
        self.ask("PUT", "/certificate", {"cert": str(cert), "key": str(key)})

    def writers(self) -> Any:
        """Return who wrote to which VM files."""
        return self.ask("GET", "/writers")

    def ask(self, method: str, path: str, body: Mapping[str, Any] | Sequence[Any] | None = None) -> Any:
        """Send one request and return the JSON answer."""
        payload = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, payload, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                raise RuntimeError(f"{method} {self.url}{path}: {refused.code} {refused.read().decode()}") from None
