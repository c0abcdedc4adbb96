"""`pileus`: the operator's command. Users keep openstack, cs, cmk and aws."""

import sys
from pathlib import Path

import click

STATE = click.option(
    "--state",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/pileus"),
    show_default=True,
    envvar="PILEUS_STATE",
    help="Directory of the database, disks, images and logs.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pileus")
def main() -> None:
    """One cloud that speaks OpenStack's and CloudStack's APIs."""


@main.command()
@STATE
@click.option("--detach", is_flag=True, help="Run in the background; return when every API answers.")
@click.option(
    "--simulate",
    type=click.IntRange(1, 100_000),
    is_flag=False,
    flag_value=3,
    default=None,
    metavar="[HOSTS]",
    help="Simulated hosts instead of this machine: no guests, no root needed.",
)
@click.option("--listen", metavar="ADDRESS", default=None, help="Address to listen on (default 127.0.0.1).")
@click.option("--port", type=click.IntRange(1, 65535), default=None, help="Port of all APIs (default 8774).")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other setting of docs/operator/settings.md.",
)
def up(
    state: Path,
    detach: bool,
    simulate: int | None,
    listen: str | None,
    port: int | None,
    settings: tuple[str, ...],
) -> None:
    """Start the cloud, or say that it runs already."""
    from pileus.cli import lifecycle

    given = {"simulate": simulate, "listen": listen, "port": port}
    sys.exit(lifecycle.up(state, {k: v for k, v in given.items() if v is not None}, settings, detach=detach))


@main.command()
@STATE
@click.option("--guests", is_flag=True, help="Stop the guests too; without it they run on.")
def down(state: Path, guests: bool) -> None:
    """Stop the cloud and the daemons that it started."""
    from pileus.cli import lifecycle

    sys.exit(lifecycle.down(state, guests=guests))


@main.command()
@STATE
def status(state: Path) -> None:
    """Whether the cloud runs, and what it holds."""
    from pileus.cli import lifecycle

    sys.exit(lifecycle.status(state))


@main.command()
@STATE
@click.argument("form", type=click.Choice(["openrc", "clouds.yaml", "cloudstack", "aws"]))
@click.option("--user", type=click.Choice(["admin", "demo"]), default="admin", show_default=True)
def credentials(state: Path, form: str, user: str) -> None:
    """Print a ready profile, as in: eval "$(pileus credentials openrc)"."""
    from pileus.cli import profiles

    sys.exit(profiles.show(state, form, user))


@main.command("first-server")
@STATE
@click.option(
    "--image",
    "image_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="Disk image to upload as pileus-guest, if it is not there.",
)
def first_server(state: Path, image_file: Path | None) -> None:
    """Make a network, an image and a server through the APIs, and reach it by SSH; what is there is kept."""
    from pileus.cli import first

    sys.exit(first.run(state, image_file))


if __name__ == "__main__":
    main()
