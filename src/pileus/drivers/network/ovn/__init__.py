"""Networks on OVN: every object becomes rows of the northbound database, and OVN does the rest."""

from pileus.drivers.network.ovn.driver import OvnNetwork

__all__ = ["OvnNetwork"]
