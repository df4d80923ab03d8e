"""kopf's settings, each with its reason. What is not named here stays at kopf's default, on purpose."""

from __future__ import annotations

from typing import Any, cast

import kopf

PREFIX = "resurgo.dev"
FINALIZER = f"{PREFIX}/kopf"  # kopf's own hold on an object; what the engine holds is `resurgo.dev/settled`


class SpecDiffBase(kopf.AnnotationsDiffBaseStorage):
    """Leave status out of the copy that kopf makes of every event: events get up to four times cheaper.

    Valid as long as no handler compares old and new status; ours compare nothing.
    """

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        slim = cast("kopf.RawBody", {key: value for key, value in body.items() if key != "status"})
        return super().build(body=kopf.Body(slim), extra_fields=extra_fields)


def operator_settings() -> kopf.OperatorSettings:
    """Settings for the one kopf operator of this process."""
    settings = kopf.OperatorSettings()

    settings.scanning.disabled = True  # no watch on CRDs and namespaces, less RBAC; the CRDs exist before we start
    settings.peering.standalone = True  # who leads is decided by the Lease

    settings.persistence.finalizer = FINALIZER
    settings.persistence.diffbase_storage = SpecDiffBase(prefix=PREFIX)
    # Never in status: only the "touch" that polls a daemon during a deletion is ever stored.
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=PREFIX, v1=False)

    settings.posting.enabled = False  # events are posted by the Kube port, after the state they speak of is written
    # worker_limit stays unset: with a limit, a worker keeps its slot for idle_timeout and a start takes minutes.

    settings.networking.request_timeout = 30  # a hung call must not hold a worker for minutes
    settings.watching.server_timeout = 300  # belt and braces against watches that end without notice
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = 500  # bounds the memory of the first list

    # No cancellation_timeout anywhere: kopf would let the object go in the middle of a step.
    settings.background.cancellation_polling = 5
    # Loops return within milliseconds of a stop; without this wait kopf calls them orphaned.
    settings.background.instant_exit_timeout = 0.5
    return settings
