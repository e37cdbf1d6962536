"""Reasons that the plan gives for answering by itself; see docs/errors.md."""

NO_BACKEND = "no-backend"
INVALID_ROUTE = "invalid-route"
