"""`headgate controller`: objects in, Envoy programmed, status out."""
