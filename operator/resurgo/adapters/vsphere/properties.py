"""Reading properties: leaf paths of many objects in one call, as plain dicts. No lazy attribute is ever touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from resurgo.adapters.vsphere.login import Api
from resurgo.adapters.vsphere.sdk import vim, vmodl

_PAGE: Final = 500
_query = vmodl.query.PropertyCollector
Properties = dict[str, Any]


def moid(reference: Any) -> str:
    """The identifier of a managed object."""
    return str(reference._moId)  # noqa: SLF001  # pyvmomi has no public name for it


def kind(reference: Any) -> str:
    """The wire type of a managed object: ``VirtualMachine``."""
    return str(type(reference).__name__.rpartition(".")[2]) if reference is not None else ""


def spec(
    objects: Iterable[Any],
    paths: Mapping[str, Sequence[str]],
    *,
    traverse: Sequence[tuple[str, str]] = (),
    skip: bool = False,
) -> Any:
    """A filter spec: *paths* by type name of *objects* and of what *traverse* (type, property) leads to from them.

    Objects that are gone are left out instead of failing the call. *skip* leaves out *objects* themselves.
    """
    selections = [
        _query.TraversalSpec(name=f"{owner}.{path}", type=getattr(vim, owner), path=path, skip=False)
        for owner, path in traverse
    ]
    return _query.FilterSpec(
        objectSet=[_query.ObjectSpec(obj=obj, skip=skip, selectSet=selections) for obj in objects],
        propSet=[
            _query.PropertySpec(type=getattr(vim, owner), pathSet=list(leaves), all=False)
            for owner, leaves in paths.items()
        ],
        reportMissingObjectsInResults=True,
    )


def view_spec(view: Any, paths: Mapping[str, Sequence[str]]) -> Any:
    """A filter spec of everything in a container view."""
    walk = _query.TraversalSpec(name="view", type=vim.view.ContainerView, path="view", skip=False)
    made = spec([view], paths, skip=True)
    made.objectSet[0].selectSet = [walk]
    return made


def retrieve(api: Api, *specs: Any) -> list[tuple[Any, Properties]]:
    """Read now. Unset properties are absent. Objects that are gone are absent, too. Blocking."""
    collector = api.bind(api.content.propertyCollector)
    found: list[tuple[Any, Properties]] = []
    try:
        page = collector.RetrievePropertiesEx(list(specs), _query.RetrieveOptions(maxObjects=_PAGE))
        while page is not None:
            for item in page.objects:
                check_missing(item.missingSet)
                found.append((item.obj, {p.name: p.val for p in item.propSet}))
            if not page.token:
                break
            page = collector.ContinueRetrievePropertiesEx(page.token)
    except vmodl.fault.ManagedObjectNotFound:
        # Some servers fail the whole call for one object that vanished; a single one is simply gone.
        if len(specs) == 1 and len(specs[0].objectSet) == 1:
            return []
        raise
    return found


def check_missing(missing: Any) -> None:
    """Raise the fault because of which a property could not be read, where it is about us and not about the object."""
    for each in missing or ():
        if isinstance(each.fault, vim.fault.NoPermission):  # NotAuthenticated is one of its kind
            raise each.fault


def read_one(api: Api, kind_: str, moref: str, paths: Sequence[str]) -> Properties | None:
    """Properties of one object; None if it is gone. Blocking."""
    found = retrieve(api, spec([api.object(kind_, moref)], {kind_: paths}))
    return found[0][1] if found else None


def read_path(api: Api, obj: Any, path: str) -> Any:
    """One property that must be there. ManagedObjectNotFound otherwise. Blocking."""
    collector = api.bind(api.content.propertyCollector)
    wanted = _query.PropertySpec(type=type(obj), pathSet=[path], all=False)
    made = _query.FilterSpec(objectSet=[_query.ObjectSpec(obj=obj, skip=False)], propSet=[wanted])
    page = collector.RetrievePropertiesEx([made], _query.RetrieveOptions())
    return page.objects[0].propSet[0].val
