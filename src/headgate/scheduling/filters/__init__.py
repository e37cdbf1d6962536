"""Plugin folder: one filter per file, found by `headgate.registry`."""
