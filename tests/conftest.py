"""For all tests: a busy machine is no failure."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# gRPC's handlers run in every child of a process that uses it, before the child's own program starts, and may
# end it there. They are decided about when gRPC is imported: here is before that.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
