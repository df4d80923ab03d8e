"""Reconciles a Site: connects its vCenter, verifies whom it talks to, and keeps its view for everybody else."""

from __future__ import annotations

import asyncio
import hashlib

from resurgo.api import Site
from resurgo.domain.errors import DrError, NotAllowed, Retryable
from resurgo.domain.ports import Key, SiteFacts
from resurgo.engine.context import Context, SiteView, stamp
from resurgo.engine.loop import Pass

_LOOK_AGAIN = 10.0  # seconds
_SETTLE = 1.0  # seconds in which changes of an inventory are gathered


class SiteReconciler:
    ready = "Ready"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ringing: asyncio.TimerHandle | None = None
        self._made_from: dict[str, str] = {}  # site -> digest of what its connection was made from

    async def reconcile(self, work: Pass) -> None:
        """Reachable, CredentialsValid, PrivilegesSufficient, Ready; the view in the context says the same."""
        site = Site.model_validate(work.obj)
        name = site.metadata.name
        before = self._usable(name)
        work.after = _LOOK_AGAIN  # also after a refusal: Secrets are not watched, and a certificate is mended elsewhere
        try:
            view = await self._connected(site)
            facts = await self._facts(view, site.status.instance_uuid)
        except DrError as error:
            self._failed(name, work, error)
            self._context.metrics.site(name, reachable=not isinstance(error, Retryable))
            raise
        finally:
            if self._usable(name) != before:
                self._context.ring_kind("protectiongroups")
                self._context.ring_kind("inventorymappings")
                self._context.ring_kind("recoveryplans")
        self._describe(site, facts, work)
        self._context.metrics.site(name, reachable=True)

    def _usable(self, name: str) -> bool:
        view = self._context.sites.get(name)
        return view is not None and view.usable() is not None

    async def forget(self, key: Key) -> None:
        view = self._context.sites.pop(key.name, None)
        self._made_from.pop(key.name, None)
        self._context.metrics.drop_site(key.name)
        if view is not None and view.vcenter is not None:
            await view.vcenter.aclose()

    async def _connected(self, site: Site) -> SiteView:
        """The view with a connection made from the present spec and Secret; a changed one replaces the old."""
        name, spec = site.metadata.name, site.spec
        reference = spec.vcenter.credentials_secret_ref
        secret = await self._context.secret(reference.namespace, reference.name)
        missing = [k for k in ("username", "password") if not secret.get(k)]
        if missing:
            raise NotAllowed(
                f"Secret {reference.namespace}/{reference.name} lacks {' and '.join(missing)}",
                reason="CredentialsMissing",
            )
        user, password = secret["username"], secret["password"]
        digest = hashlib.sha256(f"{spec.vcenter!r}{spec.limits!r}\0{user}\0{password}".encode()).hexdigest()
        view = self._context.sites.get(name)
        if view is None or view.vcenter is None or self._made_from.get(name) != digest:
            if view is not None and view.vcenter is not None:
                await view.vcenter.aclose()
            vcenter = self._context.make_vcenter(name, spec, lambda: (user, password), self._changed)
            view = SiteView(vcenter, spec, problem="it is being connected", reason="Connecting")
            self._context.sites[name] = view
            self._made_from[name] = digest
        view.spec = spec
        return view

    def _changed(self) -> None:
        """The inventory of a vCenter moved: groups may have other members. Many changes ring once."""
        if self._ringing is None:
            self._ringing = asyncio.get_running_loop().call_later(_SETTLE, self._ring)

    def _ring(self) -> None:
        self._ringing = None
        self._context.ring_kind("protectiongroups")

    async def _facts(self, view: SiteView, known: str | None) -> SiteFacts:
        assert view.vcenter is not None  # noqa: S101 (made by _connected)
        facts = await view.vcenter.facts()
        if known and known != facts.instance_uuid:
            raise NotAllowed(
                f"another vCenter answers at this address: {facts.instance_uuid}, it was {known}",
                reason="IdentityChanged",
                hint="if it was replaced on purpose, delete the Site and make it anew",
            )
        if view.vcenter.reachable:
            view.problem, view.reason = "", ""
        return facts

    def _failed(self, name: str, work: Pass, error: DrError) -> None:
        view = self._context.sites.get(name)
        if view is not None:
            view.problem, view.reason = str(error), error.reason
        conditions = work.conditions
        answered = isinstance(error, NotAllowed)
        conditions.put("Reachable", answered and error.reason != "TrustFailed", error.reason, str(error))
        if answered and error.reason not in {"TrustFailed", "IdentityChanged"}:
            conditions.put("CredentialsValid", False, error.reason, str(error))
        else:
            conditions.keep("CredentialsValid")
        conditions.keep("PrivilegesSufficient")

    def _describe(self, site: Site, facts: SiteFacts, work: Pass) -> None:
        work.status |= {
            "instanceUuid": facts.instance_uuid,
            "version": facts.version,
            "observedTime": stamp(self._context.clock.now()),
        }
        conditions = work.conditions
        conditions.put("Reachable", True, "Answered", f"vCenter {facts.version}")
        conditions.put("CredentialsValid", True, "LoggedIn")
        if facts.missing_privileges:
            text = (
                f"the account lacks {', '.join(facts.missing_privileges)} at the root folder of {site.metadata.name}: "
                "grant them with propagation"
            )
            conditions.put("PrivilegesSufficient", False, "PrivilegesMissing", text)
            conditions.put("Ready", False, "PrivilegesMissing", text)
        else:
            conditions.put("PrivilegesSufficient", True, "AllGranted")
            insecure = site.spec.vcenter.insecure_skip_tls_verify
            conditions.put(
                "Ready",
                True,
                "ConnectedInsecurely" if insecure else "Connected",
                "TLS is not verified: whoever answers at this address gets the credentials" if insecure else "",
            )
