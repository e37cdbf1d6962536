"""What a Gateway is run by on a cluster: an Envoy of its own, as objects of Kubernetes. Pure."""
