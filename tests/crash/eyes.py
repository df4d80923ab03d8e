"""Quick looks at the API server: a kill has to come within milliseconds of what it waits for."""

from __future__ import annotations

import json
from typing import Any

from kubernetes import client
from tests.lab.kube import OPERATOR_NAMESPACE, Kube

Records = dict[str, dict[str, list[Any]]]  # by item and step, as the journal stores them


class Eyes:
    """Reads over one connection that stays open. `close` it."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._api = kube.client()
        self._core = client.CoreV1Api(self._api)
        self._leases = client.CoordinationV1Api(self._api)
        self._namespace = namespace

    def close(self) -> None:
        self._api.close()

    def holder(self) -> str:
        """The identity in the Lease without its random part, "" where nobody holds it."""
        leases = self._leases.list_namespaced_lease(OPERATOR_NAMESPACE).items
        return next((x.spec.holder_identity or "" for x in leases), "").rpartition("_")[0]

    def journal(self, run: str) -> Records:
        """The records of the run called *run*, empty before it has any."""
        try:
            found = self._core.read_namespaced_config_map(f"{run}.journal-0.resurgo.dev", self._namespace)
        except client.ApiException as error:
            if error.status == 404:
                return {}
            raise
        return {item: json.loads(text) for item, text in (found.data or {}).items()}

    def steps(self, run: str) -> set[str]:
        """The steps of which the journal has at least an intent."""
        return {step for records in self.journal(run).values() for step in records}
