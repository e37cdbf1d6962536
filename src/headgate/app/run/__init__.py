"""`headgate run`: gateway, picker and Envoy as children of one supervisor."""
