"""A hypervisor in memory, for tests, scale and demos; it behaves as libvirt's does, refusals included."""

from pileus.drivers.hypervisor.simulator.host import SimulatedHypervisor
from pileus.drivers.hypervisor.simulator.journal import Journal
from pileus.drivers.hypervisor.simulator.machine import REMEMBERED_EVENTS, Machine, console

__all__ = ["REMEMBERED_EVENTS", "Journal", "Machine", "SimulatedHypervisor", "console"]
