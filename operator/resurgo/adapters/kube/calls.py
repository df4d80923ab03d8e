"""One JSON request to the API server, and what its failure means. Everything else in this folder goes through here.

The generic call of `kubernetes.aio` is used, not its API classes: dicts in and out, no models loaded, one place that
knows what a lost answer is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Protocol

import aiohttp
from kubernetes.aio.client import ApiClient

from resurgo.adapters.kube.login import Login
from resurgo.domain.errors import Conflict, DrError, Missing, NotAllowed, OutcomeUnknown, Rejected, Unreachable
from resurgo.domain.ports import Obj

MERGE_PATCH = "application/merge-patch+json"
_READS = frozenset({"GET", "HEAD"})
# A write that got one of these may be stored all the same: etcd's answer was lost on the way, or came too late.
_UNSURE = frozenset({HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})
_RETRY_AFTER_MAX = 60.0
UNAUTHORIZED = "Unauthorized"
EXPIRED = "Expired"  # pages older than the API server keeps them


class Calls(Protocol):
    """What the client and the Lease need of the API server."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Obj | None = None,
        content_type: str = "application/json",
        seconds: float | None = None,
    ) -> Obj:
        """Send once and return the answer's JSON. *path* is already quoted. Errors as in the Kube port."""
        ...


class HttpCalls:
    """`Calls` over one connection pool. On a 401 the credentials are read again, once per request."""

    def __init__(self, api: ApiClient, login: Login, *, seconds: float) -> None:
        self._api = api
        self._login = login
        self._seconds = seconds

    @classmethod
    async def connect(cls, login: Login, *, seconds: float = 30.0) -> HttpCalls:
        """Read the credentials; nothing is sent yet. *seconds* bounds each request, from connect to the last byte."""
        return cls(_api_client(await login.configuration()), login, seconds=seconds)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Obj | None = None,
        content_type: str = "application/json",
        seconds: float | None = None,
    ) -> Obj:
        try:
            return await self._send(method, path, query or {}, body, content_type, seconds or self._seconds)
        except NotAllowed as refused:
            if refused.reason != UNAUTHORIZED:
                raise
        fresh = await self._login.configuration()  # a token that has expired was written anew meanwhile
        self._api.configuration.api_key = fresh.api_key
        return await self._send(method, path, query or {}, body, content_type, seconds or self._seconds)

    async def aclose(self) -> None:
        await self._api.close()  # type: ignore[no-untyped-call]

    async def _send(
        self, method: str, path: str, query: Mapping[str, str], body: Obj | None, content_type: str, seconds: float
    ) -> Obj:
        what = f"{method} {path}"
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            call = await self._api.param_serialize(
                method,
                path,
                query_params=list(query.items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            # One number: the documented pair of timeouts ends in a TypeError inside aiohttp.
            answer = await self._api.call_api(*call, _request_timeout=seconds)
            text: bytes = await answer.read()  # type: ignore[no-untyped-call]
        except aiohttp.ClientConnectorError as exc:  # nothing was sent
            raise Unreachable(f"{what}: the API server can't be reached: {exc}") from exc
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as exc:
            raise _lost(method, what, _cause(exc, seconds)) from exc
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise failure(method, what, answer.status, text, answer.headers.get("Retry-After"))
        return _parse(method, what, text)


def _api_client(configuration: Any) -> ApiClient:
    api = ApiClient(configuration)
    api.user_agent = "resurgo"
    return api


def _cause(exc: BaseException, seconds: float) -> str:
    return f"no answer within {seconds:g} s" if isinstance(exc, TimeoutError) else f"{type(exc).__name__}: {exc}"


def _lost(method: str, what: str, why: str) -> DrError:
    if method in _READS:
        return Unreachable(f"{what}: {why}")
    return OutcomeUnknown(f"{what}: {why}", op=what, hint="it may have been stored: read the object again")


def _parse(method: str, what: str, text: bytes) -> Obj:
    try:
        parsed = json.loads(text or b"{}")
    except ValueError as exc:
        raise _lost(method, what, "the answer is no JSON") from exc
    return parsed if isinstance(parsed, dict) else {}


def failure(method: str, what: str, status: int, text: bytes, retry_after: str | None = None) -> DrError:
    """The error that a status code of the API server stands for; its message holds the server's text."""
    said, reason = _server_text(text)
    said = said or f"HTTP {status}"
    message = f"{what}: {said}"
    match status:
        case HTTPStatus.NOT_FOUND:
            return Missing(message)
        case HTTPStatus.CONFLICT:
            return Conflict(message, after=0.0, reason=reason or None)  # Conflict or AlreadyExists
        case HTTPStatus.UNAUTHORIZED:
            return NotAllowed(message, reason=UNAUTHORIZED, hint="the credentials are not accepted")
        case HTTPStatus.FORBIDDEN:
            return NotAllowed(message, reason="Forbidden")
        case HTTPStatus.GONE:
            return Rejected(message, reason=EXPIRED)
        case _ if status in _UNSURE and method not in _READS:
            return _lost(method, what, said)
        case _ if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Unreachable(message, after=_seconds(retry_after))
    return Rejected(message, reason=reason or None)


def _server_text(text: bytes) -> tuple[str, str]:
    """The message and the reason of a metav1.Status; whatever stands there if a proxy answered instead."""
    try:
        parsed = json.loads(text)
    except ValueError:
        return text.decode(errors="replace").strip()[:1024], ""
    return (str(parsed.get("message", "")), str(parsed.get("reason", ""))) if isinstance(parsed, dict) else ("", "")


def _seconds(retry_after: str | None) -> float:
    return min(float(retry_after), _RETRY_AFTER_MAX) if retry_after and retry_after.isdecimal() else 5.0
