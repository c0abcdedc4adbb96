"""What a guest learns about itself and its neighbours: the metadata trees at 169.254.169.254, by the port that asks, and
the names of its network."""

from pileus.faces.metadata.names import Resolver
from pileus.faces.metadata.service import application

__all__ = ["Resolver", "application"]
