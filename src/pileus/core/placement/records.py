"""What servers hold of hosts."""

from uuid import UUID

from pileus.store import Record, table


@table("claim", indexes=(("host",),))
class Claim(Record):
    """A consumer's (server's) share of a host; made and removed together with the host's counters. Memory in MiB, disk in GiB."""

    id: UUID
    """The consumer: the server's id."""
    host: UUID
    project: UUID
    user: UUID
    vcpus: int
    memory_mib: int
    disk_gib: int
