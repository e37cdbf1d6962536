"""Policies that attach to Gateways, listeners and routes, a file each."""
