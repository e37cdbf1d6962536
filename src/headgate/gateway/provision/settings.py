"""What provisioning is told besides the objects."""

import msgspec

ENVOY_IMAGE = "docker.io/envoyproxy/envoy:distroless-v1.40.0"


class ProvisionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The command line's values."""

    xds_host: str
    """Name or address under which Envoys reach the controllers; also the name in their certificate."""
    xds_port: int = 18000
    image: str = ENVOY_IMAGE
    """Of Envoy."""
