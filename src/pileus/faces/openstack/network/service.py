"""The Neutron service: its place, its error form and its policies."""

from pileus.faces.openstack.network.errors import NeutronErrors
from pileus.faces.openstack.network.policies import POLICIES
from pileus.faces.openstack.wire import authenticate
from pileus.faces.wire import Service

SERVICE = Service("network", "/network", errors=NeutronErrors(), policies=POLICIES, authenticate=authenticate)
V2 = "/v2.0"
