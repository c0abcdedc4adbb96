"""Traits: words for what hosts can do. An administrator writes them on hosts, and sizes require or forbid them."""

import re
from collections.abc import Iterable
from uuid import UUID

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.compute.records import Host, Trait
from pileus.core.errors import InUse, Invalid, NotFound

WORD = re.compile(r"[^\s,\x00-\x1f]([^,\x00-\x1f]{0,253}[^\s,\x00-\x1f])?")
NODE = "COMPUTE_NODE"
ARCHITECTURES = {"x86_64": "HW_ARCH_X86_64", "aarch64": "HW_ARCH_AARCH64"}
TOLD = frozenset({NODE, *ARCHITECTURES.values()})
"""What a host's record tells already; nobody writes them."""


def checked(words: Iterable[str]) -> tuple[str, ...]:
    """Each once, in order. Raises Invalid for what cannot be a trait: it has no comma and no space at its ends."""
    found = tuple(dict.fromkeys(words))
    for word in found:
        if not WORD.fullmatch(word):
            raise Invalid(
                f"{word[:100]!r} is no trait; use up to 255 characters without commas and without spaces at the ends."
            )
    return found


def of(host: Host) -> frozenset[str]:
    """What is written on the host, and what its record tells."""
    architecture = ARCHITECTURES.get(host.architecture)
    return frozenset((*host.traits, NODE, *([architecture] if architecture else [])))


async def made(cloud: Cloud) -> list[str]:
    """The words that administrators made, and those written on hosts, in order."""
    async with cloud.view() as look:
        found = {trait.name for trait in await look.list(Trait)}
        for host in await look.list(Host):
            found |= of(host)
    return sorted(found)


async def make(cloud: Cloud, caller: Caller, name: str) -> bool:
    """Whether it is new; repeating is fine. Raises Invalid."""
    caller.require_admin("trait.create")
    checked([name])
    async with cloud.transaction(caller) as tx:
        if await tx.maybe(Trait, name) is not None:
            return False
        await tx.add(Trait(name=name, created_at=cloud.now()))
        return True


async def forget(cloud: Cloud, caller: Caller, name: str) -> None:
    """Raises NotFound, InUse while a host has it."""
    caller.require_admin("trait.delete")
    async with cloud.transaction(caller) as tx:
        trait = await tx.maybe(Trait, name)
        holders = [host for host in await tx.list(Host) if name in host.traits]
        if holders:
            raise InUse(
                f"The trait {name} is in use by {holders[0].hostname}; remove it from its hosts first."
            )
        if trait is None:
            raise NotFound("Trait", name)
        await tx.remove(trait)


async def holders(cloud: Cloud, caller: Caller) -> list[tuple[UUID, str]]:
    """(host, trait) of every word written on a host, by hostname and word."""
    caller.require_admin("trait.read")
    async with cloud.view() as look:
        return [
            (host.id, word)
            for host in await look.list(Host, order=("hostname",))
            for word in sorted(host.traits)
        ]
