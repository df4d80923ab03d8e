"""Resurgo: site recovery for VMware vSphere, declared as Kubernetes resources."""
