"""What Keystone once had and says is gone."""

from typing import NoReturn

from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request
from pileus.faces.wire.errors import WireError, WireKind

GONE = "This API is no longer available due to the removal of support for PKI tokens."


@SERVICE.operation("GET", "/v3/OS-SIMPLE-CERT/ca", public=True)
async def authority(request: Request) -> NoReturn:
    raise WireError(WireKind.GONE, GONE)


@SERVICE.operation("GET", "/v3/OS-SIMPLE-CERT/certificates", public=True)
async def certificates(request: Request) -> NoReturn:
    raise WireError(WireKind.GONE, GONE)
