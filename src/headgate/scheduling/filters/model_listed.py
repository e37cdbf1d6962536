"""Not every endpoint of a pool serves every model: base models and adapters may differ."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from headgate.scheduling.api import Ask, EndpointState, Filter


class ModelListed(Filter, frozen=True):
    """Only endpoints that list the request's model, where anybody does; everyone where nobody told."""

    hard: ClassVar[bool] = True

    def refuse(self, ask: Ask, endpoints: Sequence[EndpointState]) -> Mapping[int, str]:
        """Refuse whoever is known not to have the model."""
        listed = ask.listed
        if listed is None:
            return {}
        return {
            position: f"does not list the model {ask.model!r}"
            for position, state in enumerate(endpoints)
            if state.slot not in listed
        }
