"""A real Kubernetes API server over a real etcd, for tests and for people: users with tokens, CRDs, kubectl.

There is no controller-manager and no node: garbage collection, Jobs and the deletion of namespaces do not happen.
"""

from __future__ import annotations

import json
import secrets
import ssl
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config
from tests.lab.pki import Pki
from tests.lab.ports import free_port
from tests.lab.processes import Process
from tests.lab.toolchain import Toolchain
from tests.lab.waiting import wait_until

OPERATOR_NAMESPACE = "resurgo-system"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody the API server knows by a token."""

    name: str
    groups: tuple[str, ...] = ()


# The keys are what tests say; the names are what RBAC and audit see. The operator's is its chart's ServiceAccount.
USERS = {
    "admin": User("admin", ("system:masters",)),
    "operator": User(
        f"system:serviceaccount:{OPERATOR_NAMESPACE}:resurgo",
        ("system:serviceaccounts", f"system:serviceaccounts:{OPERATOR_NAMESPACE}"),
    ),
    "developer": User("developer"),
    "approver": User("approver"),
    "argocd": User(
        "system:serviceaccount:argocd:argocd-application-controller",
        ("system:serviceaccounts", "system:serviceaccounts:argocd"),
    ),
}


class Kube:
    """One API server with its etcd. Everything it writes lies in *folder*; `stop` ends both processes."""

    def __init__(self, toolchain: Toolchain, folder: Path) -> None:
        """Prepare files and choose ports; nothing runs before `start`."""
        self.folder = folder
        self.pki = Pki(folder / "pki")
        self.url = f"https://127.0.0.1:{free_port()}"
        self._toolchain = toolchain
        self._etcd_url = f"http://127.0.0.1:{free_port()}"
        self._etcd_peer_url = f"http://127.0.0.1:{free_port()}"
        self._tokens = {user: secrets.token_hex(16) for user in USERS}
        self._tls = self.pki.server("kube-apiserver")
        self._etcd: Process | None = None
        self._apiserver: Process | None = None
        self._write_tokens()
        for user in USERS:
            self._write_kubeconfig(user)

    def start(self) -> Kube:
        """Start etcd and the API server and return once it is ready. About four seconds."""
        self._etcd = self._start_etcd()
        self._start_apiserver()
        return self

    def stop(self) -> None:
        """End both processes; the data stays in the folder. Safe to repeat."""
        for process in (self._apiserver, self._etcd):
            if process:
                process.stop(grace=5)

    def restart(self) -> None:
        """End the API server at once, as a crash would, and start it again on the same port with the same data."""
        self.apiserver.kill()
        self._start_apiserver()

    def pause(self) -> None:
        """Freeze the API server: connections stay open, nothing is answered."""
        self.apiserver.pause()

    def resume(self) -> None:
        """Let a frozen API server go on."""
        self.apiserver.resume()

    @property
    def apiserver(self) -> Process:
        """The API server's process."""
        assert self._apiserver, "Kube.start was not called"
        return self._apiserver

    @property
    def processes(self) -> list[Process]:
        """What runs, in the order in which it is to be stopped."""
        return [p for p in (self._apiserver, self._etcd) if p]

    def kubeconfig(self, user: str = "admin") -> Path:
        """Return the kubeconfig file of *user*, a key of USERS."""
        return self.folder / f"{user}.kubeconfig"

    def client(self, user: str = "admin") -> kubernetes_client.ApiClient:
        """Return a new client of the Python library that speaks as *user*; close it, or use it as a context."""
        made: kubernetes_client.ApiClient = kubernetes_config.new_client_from_config(  # type: ignore[no-untyped-call]
            config_file=str(self.kubeconfig(user))
        )
        return made

    def kubectl(
        self,
        *args: str | Path,
        user: str = "admin",
        input: str | None = None,  # noqa: A002 - as subprocess.run calls it
        seconds: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as *user* and return what it said; a failure is in the answer, not raised."""
        return subprocess.run(
            [self._toolchain.find("kubectl"), "--kubeconfig", self.kubeconfig(user), *map(str, args)],
            input=input,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def apply(self, *manifests: dict[str, Any] | Path, user: str = "admin") -> None:
        """Apply files, folders or objects, server-side, as *user*. RuntimeError with kubectl's words if refused."""
        documents = [m for m in manifests if not isinstance(m, Path)]
        if documents:
            self._must("apply", "--server-side", "-f", "-", user=user, input=yaml.safe_dump_all(documents))
        for path in manifests:
            if isinstance(path, Path):
                self._must("apply", "--server-side", "-f", path, user=user)

    def patch(
        self, kind: str, name: str, patch: dict[str, Any], *, namespace: str | None = None, user: str = "admin"
    ) -> None:
        """Merge *patch* into an object as *user*. RuntimeError with the API server's words if refused."""
        where = ["-n", namespace] if namespace else []
        self._must("patch", kind, name, *where, "--type=merge", "-p", json.dumps(patch), user=user)

    def get(self, *args: str, user: str = "admin") -> dict[str, Any]:
        """Return `kubectl get *args* -o json`, parsed. RuntimeError with kubectl's words if that fails."""
        answer = json.loads(self._must("get", *args, "-o", "json", user=user))
        assert isinstance(answer, dict)
        return answer

    def namespace(self, name: str, labels: dict[str, str] | None = None) -> str:
        """Make sure namespace *name* exists with these *labels*, and return its name."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}})
        return name

    def install_crds(self, folder: Path) -> None:
        """Install every CRD of *folder* and return once each is Established and its objects can be listed."""
        self.apply(folder)
        for crd in (c for path in sorted(folder.glob("*.yaml")) for c in yaml.safe_load_all(path.read_text()) if c):
            name, spec = crd["metadata"]["name"], crd["spec"]
            self._must("wait", "--for=condition=Established", f"crd/{name}", "--timeout=30s")
            path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
            wait_until(lambda p=path: self._answers(p), f"{name} is served")  # type: ignore[misc]

    def _must(self, *args: str | Path, user: str = "admin", input: str | None = None) -> str:  # noqa: A002
        done = self.kubectl(*args, user=user, input=input)
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(map(str, args))} as {user}: {done.stderr.strip()}")
        return done.stdout

    def _answers(self, path: str) -> bool:
        headers = {"Authorization": f"Bearer {self._tokens['admin']}"}
        request = urllib.request.Request(self.url + path, headers=headers)
        trust = ssl.create_default_context(cafile=str(self.pki.ca))
        try:
            with urllib.request.urlopen(request, timeout=5, context=trust) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _start_etcd(self) -> Process:
        argv: list[str | Path] = [
            self._toolchain.find("etcd"),
            "--unsafe-no-fsync",  # the data need not survive a power cut
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls={self._etcd_peer_url}",
            f"--initial-advertise-peer-urls={self._etcd_peer_url}",
            f"--initial-cluster=default={self._etcd_peer_url}",
        ]
        process = Process.start("etcd", argv, log=self.folder / "etcd.log")
        process.wait_ready(self._etcd_healthy)
        return process

    def _etcd_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._etcd_url}/health", timeout=2) as answer:
                return bool(json.load(answer)["health"] == "true")
        except (urllib.error.URLError, OSError, ValueError):
            return False

    def _start_apiserver(self) -> None:
        key = self.pki.rsa_key("service-account")
        argv: list[str | Path] = [
            self._toolchain.find("kube-apiserver"),
            f"--etcd-servers={self._etcd_url}",
            f"--cert-dir={self.folder / 'certs'}",
            f"--tls-cert-file={self._tls.cert}",
            f"--tls-private-key-file={self._tls.key}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.url.rpartition(':')[2]}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",
        ]
        log = self.folder / "kube-apiserver.log"
        self._apiserver = Process.start("kube-apiserver", argv, log=log)
        # A machine that is busy building takes many times the usual four seconds.
        self._apiserver.wait_ready(lambda: self._answers("/readyz"), seconds=90)

    def _write_tokens(self) -> None:
        path = self.folder / "tokens.csv"
        path.touch(mode=0o600)
        lines = [f'{self._tokens[key]},{u.name},{key},"{",".join(u.groups)}"' for key, u in USERS.items()]
        path.write_text("\n".join(lines) + "\n")

    def _write_kubeconfig(self, user: str) -> None:
        path = self.kubeconfig(user)
        path.touch(mode=0o600)
        cluster = {"server": self.url, "certificate-authority": str(self.pki.ca)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self._tokens[user]}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
            "current-context": "lab",
        }
        path.write_text(yaml.safe_dump(content))
