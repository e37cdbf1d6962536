"""Plugin folder: one scorer per file, found by `headgate.registry`."""
