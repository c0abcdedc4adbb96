"""Glance's envelope: its refusals are small HTML pages, and its service has no microversions."""

import html
from collections.abc import Mapping

from pileus.core.errors import CoreError, Kind
from pileus.faces.openstack import wire
from pileus.faces.openstack.image.policies import POLICIES
from pileus.faces.wire import STATUS, Request, Response, Service, WireError

STATUSES: Mapping[Kind, int] = {**STATUS, Kind.QUOTA: 413, Kind.UNSUPPORTED: 400}

PAGE = """<html>
 <head>
  <title>{code} {title}</title>
 </head>
 <body>
  <h1>{code} {title}</h1>
  {message}<br /><br />
 </body>
</html>"""


class ImageErrors(wire.Errors):
    table = STATUSES

    def word(self, code: int, error: CoreError | WireError, request: Request) -> Response:
        body = PAGE.format(code=code, title=wire.title(code), message=html.escape(error.public))
        return Response(code, body, content_type="text/html; charset=UTF-8")


SERVICE = Service(
    "image",
    "/image",
    errors=ImageErrors(),
    policies=POLICIES,
    authenticate=wire.authenticate,
)
