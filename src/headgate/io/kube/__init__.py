"""A Kubernetes API server as a place that objects come from and results go to."""
