"""Speaking to a vCenter with pyvmomi: the VCenter port of the domain."""

from resurgo.adapters.vsphere.calls import Limits
from resurgo.adapters.vsphere.certificate import Trust
from resurgo.adapters.vsphere.gateway import VSphereGateway

__all__ = ["Limits", "Trust", "VSphereGateway"]
