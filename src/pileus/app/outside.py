"""The way from the external network to the world: this machine forwards, and stands in with its own address."""

import re
from pathlib import Path

import structlog

from pileus.config import Config
from pileus.drivers.errors import DriverError
from pileus.drivers.network.ovn.command import run

log = structlog.get_logger()

FORWARD = Path("/proc/sys/net/ipv4/ip_forward")

RULES = """\
table ip {table} {{
}}
delete table ip {table}
table ip {table} {{
  chain out {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {cidr} oifname != {{ "{bridge}", "lo" }} masquerade
  }}
}}
"""


def table(config: Config) -> str:
    """Each cloud of the machine has its own."""
    return "pileus_" + re.sub(r"\W", "_", config.external_bridge)


async def open_way(config: Config) -> str:
    """Make servers reach what this machine reaches; repeatable. Empty, or why it could not be done: the cloud works
    without it, only its servers stay among themselves."""
    rules = RULES.format(table=table(config), cidr=config.external_cidr, bridge=config.external_bridge)
    try:
        await run("nft", "-f", "-", input=rules)
        forward()
    except (DriverError, OSError) as error:
        log.warning("outside.closed", error=str(error))
        return str(error)
    return ""


def forward() -> None:
    FORWARD.write_text("1")


async def close_way(config: Config) -> None:
    """Take the rules away; forwarding stays as it is, for others may need it."""
    try:
        tables = await run("nft", "list", "tables")
        if f"table ip {table(config)}\n" in tables:
            await run("nft", "delete", "table", "ip", table(config))
    except DriverError as error:
        log.warning("outside.left", error=str(error))
