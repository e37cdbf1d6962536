"""Flags of other endpoint pickers that mean little or nothing here, and what is said of each at the start."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

NOTICES: Mapping[str, str] = MappingProxyType(
    {
        "allow_experimental_plugins": "no plugin needs leave here",
        "emit_endpoint_scores": "scores are not told to the gateway; `headgate explain` shows them",
        "enable_grpc_stream_metrics": "open streams are counted anyway, as headgate_extproc_streams",
        "enable_pprof": "there is no profiler on the metrics port",
        "grpc_max_send_msg_size": "no bound is kept: bodies are answered in pieces of at most 64 KiB",
        "health_checking": "health is answered on the ext_proc port, too, always",
        "pool_group": "pools of both groups of the Inference Extension are served",
        "refresh_prometheus_metrics_interval": "averages are computed whenever metrics are read",
        "tls_cipher_suites": "cipher suites are those of the TLS library",
        "tracing": "no traces are sent",
        "verbosity": "--log-level says how much is logged",
        "zap_devel": "--log-format says how lines are written",
        "zap_encoder": "--log-format says how lines are written",
        "zap_log_level": "--log-level says how much is logged",
    }
)
"""Parameter → what happens here in place of what the flag means."""

LOST = frozenset({"emit_endpoint_scores"})
"""Those of which somebody may miss the effect."""


def notices(given: Iterable[str]) -> list[tuple[str, bool]]:
    """A line for each of the parameters *given* that has little effect, and whether something is lost."""
    return [
        (f"--{name.replace('_', '-')} has no effect: {NOTICES[name]}", name in LOST)
        for name in given
        if name in NOTICES
    ]
