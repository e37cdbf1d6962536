"""What the labels of an endpoint have to be, as label filters of other pickers say it."""

from collections.abc import Mapping
from typing import Literal

import msgspec

ROLE = "llm-d.ai/role"
DECODES = ("decode", "prefill-decode", "both", "encode-prefill-decode")
PREFILLS = ("prefill", "encode-prefill", "prefill-decode", "both", "encode-prefill-decode")
ENCODES = ("encode", "encode-prefill", "encode-prefill-decode")


class Requirement(msgspec.Struct, frozen=True):
    """One condition on one label."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()
    """Of `In` and `NotIn`."""
    or_absent: bool = False
    """Endpoints without the label pass, too; those always pass `NotIn`."""

    def met_by(self, labels: Mapping[str, str]) -> bool:
        """Whether an endpoint with these labels may serve."""
        value = labels.get(self.key)
        match self.operator:
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "In":
                return self.or_absent if value is None else value in self.values
            case "NotIn":
                return value is None or value not in self.values
