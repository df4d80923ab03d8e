"""Speaking to the Kubernetes API server: the Kube port, events and the Lease of leadership."""
