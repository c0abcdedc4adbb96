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


@main.group()
def federation() -> None:
    """Identity providers, by whose word users come in."""


@federation.command("set")
@click.argument("provider")
@STATE
@click.option("--issuer", metavar="URL", help="Issuer of an OpenID provider, as its discovery document says.")
@click.option("--client-id", metavar="ID", help="What the provider calls us.")
@click.option(
    "--client-secret-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the client's secret; left out, the secret that is set stays.",
)
@click.option(
    "--scope", "scopes", multiple=True, metavar="NAME", help="What is asked for (openid, email and profile)."
)
@click.option(
    "--audience", "audiences", multiple=True, metavar="NAME", help="For whom access tokens may be, beside us."
)
@click.option(
    "--opaque-tokens",
    type=click.Choice(("refuse", "introspection", "userinfo")),
    default="introspection",
    show_default=True,
    help="How access tokens that are no JWTs are believed; userinfo does not say for whom they were issued.",
)
@click.option(
    "--metadata-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Metadata of a SAML identity provider.",
)
def federation_set(
    provider: str,
    state: Path,
    issuer: str | None,
    client_id: str | None,
    client_secret_file: Path | None,
    scopes: tuple[str, ...],
    audiences: tuple[str, ...],
    opaque_tokens: str,
    metadata_file: Path | None,
) -> None:
    """Say how an identity provider is spoken with."""
    from pileus.cli import federation as commands

    code = commands.set_provider(
        state,
        provider,
        issuer=issuer,
        client=client_id,
        secret_file=client_secret_file,
        scopes=scopes,
        audiences=audiences,
        opaque_tokens=opaque_tokens,
        metadata_file=metadata_file,
    )
    sys.exit(code)


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
    """Print a ready profile of a client.

    As in: eval "$(pileus credentials openrc)"
    """
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
    """Make a first server with all it needs, and reach it.

    A network, an image and a server, through the APIs; what is there is kept.
    """
    from pileus.cli import first

    sys.exit(first.run(state, image_file))


@main.command()
@STATE
@click.option("--from", "first", type=click.IntRange(1), metavar="SEQ", help="Begin with this number.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, also when the cloud is restarted.")
@click.option("--kind", default="", metavar="KIND,...", help="Of these kinds: server, volume, ...")
@click.option("--resource", type=click.UUID, help="Of this one.")
@click.option("--project", type=click.UUID, help="Of this project.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line, with everything that is known."
)
def events(state: Path, first: int | None, follow: bool, as_json: bool, **filters: str | None) -> None:
    """What changed: the last fifty, or from a number on."""
    from pileus.cli import events

    sys.exit(events.run(state, first=first, follow=follow, as_json=as_json, **filters))


@main.group()
def operation() -> None:
    """Long work: list it, look at it, cancel it, wake it."""


OPERATION = click.argument("operation", metavar="ID", type=click.UUID)


@operation.command("list")
@STATE
@click.option("--subject", type=click.UUID, help="Of this server, volume, network, ...")
@click.option("--project", type=click.UUID, help="Of this project.")
@click.option("--workflow", metavar="NAME", help="As in server.deploy.")
@click.option(
    "--outcome",
    type=click.Choice(["running", "unwinding", "done", "failed", "flagged"]),
    help="As it is now.",
)
@click.option("--live", is_flag=True, help="Only what has not ended.")
@click.option("--before", type=int, metavar="NUMBER", help="Older than this sequence number.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
def operation_list(state: Path, **wanted: str | int | None) -> None:
    """The newest first."""
    from pileus.cli import operations

    sys.exit(operations.show_all(state, **wanted))


@operation.command("show")
@STATE
@OPERATION
def operation_show(state: Path, operation: str) -> None:
    """Its steps with their times, and what it waits for."""
    from pileus.cli import operations

    sys.exit(operations.show(state, operation))


@operation.command("cancel")
@STATE
@OPERATION
def operation_cancel(state: Path, operation: str) -> None:
    """Ask for its end: what it did is undone before its next step."""
    from pileus.cli import operations

    sys.exit(operations.cancel(state, operation))


@operation.command("retry")
@STATE
@OPERATION
def operation_retry(state: Path, operation: str) -> None:
    """Wake it now when it waits, or when its undo does not succeed."""
    from pileus.cli import operations

    sys.exit(operations.retry(state, operation))


@main.group()
def keys() -> None:
    """The keys with which tokens are sealed and stored secrets encrypted."""


@keys.command("rotate")
@STATE
@click.option("--no-wait", is_flag=True, help="Do not wait until all that is stored is encrypted anew.")
def keys_rotate(state: Path, no_wait: bool) -> None:
    """Seal tokens, and encrypt secrets, with new keys. Tokens that were issued before stay good until they expire, and
    what is stored is encrypted anew while the cloud works on."""
    from pileus.cli import keys

    sys.exit(keys.rotate(state, wait=not no_wait))


@main.group()
def registrations() -> None:
    """Visitors who ask for an account, and invitations."""


REGISTRATION = click.argument("registration", metavar="REGISTRATION")


@registrations.command("list")
@STATE
@click.option(
    "--of",
    "wanted",
    type=click.Choice(["waiting", "unconfirmed", "done", "refused", "all"]),
    default="waiting",
    show_default=True,
)
def registrations_list(state: Path, wanted: str) -> None:
    """Those that wait for a decision, or others; the newest first."""
    from pileus.cli import registrations

    sys.exit(registrations.show_all(state, "" if wanted == "all" else wanted))


@registrations.command("approve")
@STATE
@REGISTRATION
@click.option("--name", default="", help="Another than was asked for, where that is taken.")
def registrations_approve(state: Path, registration: str, name: str) -> None:
    """Make the account of REGISTRATION: its id, name or e-mail address."""
    from pileus.cli import registrations

    sys.exit(registrations.approve(state, registration, name))


@registrations.command("refuse")
@STATE
@REGISTRATION
@click.option("--reason", required=True, help="Told to the visitor.")
def registrations_refuse(state: Path, registration: str, reason: str) -> None:
    """Make no account for REGISTRATION: its id, name or e-mail address."""
    from pileus.cli import registrations

    sys.exit(registrations.refuse(state, registration, reason))


@registrations.command("invite")
@STATE
@click.argument("email", metavar="EMAIL")
@click.option(
    "--domain", default="", help="In which the account will be, by id or name; without it the first one."
)
def registrations_invite(state: Path, email: str, domain: str) -> None:
    """Mail leave to make an account."""
    from pileus.cli import registrations

    sys.exit(registrations.invite(state, email, domain))


@registrations.command("invitations")
@STATE
def registrations_invitations(state: Path) -> None:
    """Who was invited, and who came."""
    from pileus.cli import registrations

    sys.exit(registrations.invitations(state))


@main.group()
def quota() -> None:
    """What projects, users and domains are charged of their limits."""


@quota.command("verify")
@STATE
@click.option("--repair", is_flag=True, help="Correct what is recorded.")
def quota_verify(state: Path, repair: bool) -> None:
    """Recount every use from the records and print what differs: nothing, in a sound cloud."""
    from pileus.cli import quota

    sys.exit(quota.verify(state, repair=repair))


@main.group()
def explain() -> None:
    """Why a server is on its host or on none, and why somebody may do something or may not."""


@explain.command("server")
@STATE
@click.argument("server", metavar="SERVER")
def explain_server(state: Path, server: str) -> None:
    """The latest choice of its host, by the server's id or name; of one in error also what it would meet now."""
    from pileus.cli import explain

    sys.exit(explain.server(state, server))


@explain.command("access")
@STATE
@click.argument("user", metavar="USER")
@click.argument("action", metavar="ACTION")
@click.argument("object", metavar="[OBJECT]", default="")
def explain_access(state: Path, user: str, action: str, object: str) -> None:
    """Whether USER (id or name) may do ACTION (a rule, or a CloudStack command) to OBJECT (an id), and which rule decides."""
    from pileus.cli import access

    sys.exit(access.explain(state, user, action, object))


@explain.command("size")
@STATE
@click.argument("size", metavar="SIZE")
@click.option("--zone", default="", help="Id or name; without it any.")
def explain_size(state: Path, size: str, zone: str) -> None:
    """Whether one more server of this size (id or name) would fit now."""
    from pileus.cli import explain

    sys.exit(explain.size(state, size, zone))


if __name__ == "__main__":
    main()
