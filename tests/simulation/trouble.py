"""What goes wrong outside: faults of every kind on hosts, network, pools and images, at random but the same for a seed."""

from collections.abc import Sequence
from random import Random

from pileus.drivers.faults import Fault, FaultKind, Faulty
from pileus.drivers.hypervisor.simulator import SimulatedHypervisor
from pileus.drivers.simulated import SimulatedWorld

LOOKS = frozenset({"facts", "guests", "power", "known", "volumes", "bases", "close", "read"})
"""Calls that change nothing; faults of one call strike the others."""


def draw(random: Random, world: SimulatedWorld) -> tuple[Faulty, Fault]:
    platform = pick(random, world)
    kinds: Sequence[FaultKind] = list(FaultKind)
    if not isinstance(platform, SimulatedHypervisor):
        kinds = [kind for kind in kinds if kind is not FaultKind.POWER_LOSS]
    return platform, fault(random, random.choice(kinds), sorted(platform.CALLS - LOOKS))


def pick(random: Random, world: SimulatedWorld) -> Faulty:
    """Hosts mostly, for there are many; but what all share fails too."""
    shared = [world.network, *world.pools.values(), world.images]
    return random.choice(list(world.hosts.values()) if random.random() < 0.6 else shared)


def fault(random: Random, kind: FaultKind, calls: Sequence[str]) -> Fault:
    lasts = random.choice((5.0, 20.0, 60.0, 300.0, 900.0)) * random.uniform(0.5, 1.5)
    call = random.choice(calls) if random.random() < 0.4 else ""
    chance = random.choice((0.05, 0.2, 0.5, 1.0))
    match kind:
        case FaultKind.SLOW:
            return Fault(kind=kind, factor=random.choice((3.0, 30.0, 200.0)), lasts=lasts)
        case FaultKind.POWER_LOSS:
            return Fault(kind=kind, lasts=lasts)
        case FaultKind.UNREACHABLE:
            return Fault(kind=kind, after=random.uniform(0, 30), lasts=lasts)
        case FaultKind.FAILING:
            return Fault(kind=kind, call=call, chance=chance, times=random.randint(1, 8), lasts=lasts)
        case FaultKind.HANGING:
            return Fault(
                kind=kind, call=call, chance=chance, times=random.randint(1, 5), seconds=30, lasts=lasts
            )
        case _:
            return Fault(kind=kind, call=call, chance=chance, lasts=lasts)
