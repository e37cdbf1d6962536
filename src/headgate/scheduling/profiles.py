"""The named routing policies, and which plugins there are to build more from."""

from collections.abc import Mapping
from types import MappingProxyType

from headgate import registry
from headgate.scheduling import filters, scorers
from headgate.scheduling.api import Filter, Profile, Scorer
from headgate.scheduling.filters.has_room import HasRoom
from headgate.scheduling.filters.healthy import Healthy
from headgate.scheduling.filters.keeps_answer import KeepsAnswer
from headgate.scheduling.filters.model_listed import ModelListed
from headgate.scheduling.filters.refused_alike import RefusedAlike
from headgate.scheduling.filters.slow_start import SlowStart
from headgate.scheduling.filters.subset_hint import SubsetHint
from headgate.scheduling.scorers.decode_pressure import DecodePressure
from headgate.scheduling.scorers.eviction_surcharge import EvictionSurcharge
from headgate.scheduling.scorers.least_requests import LeastRequests
from headgate.scheduling.scorers.lora_load import LoraLoad
from headgate.scheduling.scorers.prefill_wait import PrefillWait
from headgate.scheduling.scorers.round_robin import RoundRobin
from headgate.scheduling.scorers.session_affinity import SessionAffinity
from headgate.scheduling.scorers.uniform import Uniform

_COMMON = (SubsetHint(), KeepsAnswer(), ModelListed(), Healthy(), RefusedAlike(), HasRoom(), SlowStart())

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            Profile(
                name="default",
                filters=_COMMON,
                scorers=(
                    PrefillWait(),
                    EvictionSurcharge(),
                    DecodePressure(),
                    LoraLoad(),
                    SessionAffinity(weight=0.1),
                ),
            ),
            Profile(name="random", filters=_COMMON, scorers=(Uniform(),)),
            Profile(name="round-robin", filters=_COMMON, scorers=(RoundRobin(),)),
            Profile(name="least-requests", filters=_COMMON, scorers=(LeastRequests(),)),
        )
    }
)
"""Policy name (the command line's `--policy`) → profile. All keep to models, health and slow start."""


def filter_types() -> tuple[type[Filter], ...]:
    """Every filter in the plugin folder, in order of file name."""
    return registry.classes(filters, Filter)


def scorer_types() -> tuple[type[Scorer], ...]:
    """Every scorer in the plugin folder, in order of file name."""
    return registry.classes(scorers, Scorer)
