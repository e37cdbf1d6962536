"""The indexes that the gateway half asks for, beside those of the model."""

from collections.abc import Mapping

from headgate.gateway.plan.attachment import GRPC_PARENT, by_grpc_parent
from headgate.gateway.plan.base_models import by_base_models
from headgate.gateway.plan.fallbacks import by_fallback
from headgate.gateway.plan.hosts import by_hostname
from headgate.gateway.plan.scopes import by_host_group
from headgate.gateway.plan.upstream_tls import by_secured
from headgate.model.indexes import INDEXES as MODEL_INDEXES
from headgate.model.store import Index

INDEXES: Mapping[str, Index] = {
    **MODEL_INDEXES,
    "hostname": by_hostname,
    GRPC_PARENT: by_grpc_parent,
    "host_group": by_host_group,
    "base_models": by_base_models,
    "fallback": by_fallback,
    "secured": by_secured,
}
"""Name → keys of an object."""
