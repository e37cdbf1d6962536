"""What becomes of an object."""

import msgspec

from headgate.model.meta import Identity, KubeObject


class Change(msgspec.Struct, frozen=True):
    """One object as it is now."""

    identity: Identity
    object: KubeObject | None
    """None: it is gone."""
