"""Listening: the only place that knows kopf, and the HTTP port for probes and metrics."""
