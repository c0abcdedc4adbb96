"""Keystone's v3 API under /identity."""

from pileus.faces.openstack.identity.policies import POLICIES
from pileus.faces.openstack.wire import Errors, authenticate
from pileus.faces.wire import Service

SERVICE = Service("identity", "/identity", errors=Errors(), policies=POLICIES, authenticate=authenticate)
