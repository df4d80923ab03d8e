"""The API server as the API tests use it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.api.server import Server
from tests.lab.kube import Kube


@pytest.fixture(scope="session")
def api_namespace(apiserver: Kube) -> str:
    return apiserver.namespace("api-tests")


@pytest.fixture
def server(apiserver: Kube, api_namespace: str) -> Iterator[Server]:
    """A client that removes what it made."""
    with apiserver.client() as client:
        made = Server(client, api_namespace)
        yield made
        made.clear()
