"""The pyvmomi namespaces. Its classes are made at run time and can't be checked, so they are `Any` here, once."""

from __future__ import annotations

import importlib
from typing import Any

_pyvmomi: Any = importlib.import_module("pyVmomi")
vim: Any = _pyvmomi.vim
vmodl: Any = _pyvmomi.vmodl
ManagedObject: Any = _pyvmomi.VmomiSupport.ManagedObject
versions: Any = _pyvmomi.VmomiSupport
SoapStubAdapter: Any = _pyvmomi.SoapStubAdapter
