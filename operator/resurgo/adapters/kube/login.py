"""Who we are to the API server: the kubeconfig that was named, the pod's service account, or the home directory's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import yaml
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import Configuration
from kubernetes.aio.config.config_exception import ConfigException

from resurgo.domain.errors import NotAllowed

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_HOME = Path("~/.kube/config")


@dataclass(frozen=True, slots=True)
class Login:
    """Where the credentials come from. No file: the pod's service account."""

    kubeconfig: str | None  # one path, or several as in KUBECONFIG
    context: str | None = None

    @classmethod
    def find(cls, kubeconfig: Path | None = None, context: str | None = None) -> Login:
        """What was named, else KUBECONFIG, else the pod's service account, else ~/.kube/config."""
        named = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG")
        if named:
            return cls(named, context)
        if (_ACCOUNT / "token").exists():
            return cls(None)
        return cls(str(_HOME.expanduser()), context)

    async def configuration(self) -> Configuration:
        """Read the credentials now. NotAllowed says which file is wrong and why."""
        found = Configuration()
        try:
            if self.kubeconfig is None:
                kube_config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
            else:
                await kube_config.load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=self.kubeconfig, context=self.context, client_configuration=found, persist_config=False
                )
        except (ConfigException, OSError, ValueError, yaml.YAMLError) as exc:
            where = self.kubeconfig or f"the service account in {_ACCOUNT}"
            raise NotAllowed(f"can't log in to Kubernetes with {where}: {exc}") from exc
        found.retries = None  # nothing is sent twice behind our back
        return found

    @property
    def namespace(self) -> str:
        """The namespace that commands mean when none is given."""
        try:
            if self.kubeconfig is None:
                return (_ACCOUNT / "namespace").read_text().strip() or "default"
            contexts, current = kube_config.list_kube_config_contexts(self.kubeconfig)  # type: ignore[no-untyped-call]
            chosen = next((c for c in contexts if c["name"] == self.context), current) if self.context else current
            return str(chosen["context"].get("namespace") or "default")
        except (ConfigException, OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
            return "default"
