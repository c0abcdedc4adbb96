"""Run by the clients' own Python: every `openstack` command of the identity group, in one process, and what each said.

Prints JSON: the commands that the client has, those that were run, and each that failed with what it wrote.
"""

import contextlib
import io
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from openstackclient.shell import OpenStackShell

RAN: dict[str, str] = {}
SCRATCH = Path(sys.argv[1])


def ask(command: str, *words: str, shows: bool = False) -> Any:
    """The command's own words, then what it is given. `shows`: it answers an object or a list."""
    out, err = io.StringIO(), io.StringIO()
    line = [*command.split(), *words, *(("-f", "json") if shows else ())]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = OpenStackShell().run(line)
        except SystemExit as error:
            code = error.code
    # A few commands of the client return what they show, which is no exit code.
    code = code if isinstance(code, int) else 0
    RAN[command] = RAN.get(command, "") or (
        "" if not code else f"{words}: {err.getvalue()[-400:]}{out.getvalue()[-200:]}"
    )
    text = out.getvalue()
    if not shows:
        return text
    try:
        return json.loads(text) if not code else {}
    except ValueError:
        return {}


def made(command: str, *words: str) -> str:
    """The id of what a create made."""
    shown = ask(command, *words, shows=True)
    return str(shown.get("id") or shown.get("ID") or "") if isinstance(shown, dict) else ""


def listed(command: str, *words: str) -> Any:
    return ask(command, *words, shows=True)


def domains_projects_users() -> None:
    made("domain create", "sales", "--description", "d")
    listed("domain list")
    ask("domain set", "sales", "--description", "other")
    listed("domain show", "sales")
    made("project create", "shop", "--domain", "sales", "--tag", "t", "--property", "k=v")
    made("project create", "shop-east", "--domain", "sales", "--parent", "shop")
    listed("project list", "--domain", "sales", "--long")
    listed("project list", "--tags", "t")
    ask("project set", "shop", "--domain", "sales", "--description", "s", "--tag", "u")
    listed("project show", "shop", "--domain", "sales", "--children", "--parents")
    made(
        "user create",
        "alice",
        "--domain",
        "sales",
        "--password",
        "Secret-1",
        "--email",
        "a@example.org",
        "--project",
        "shop",
        "--project-domain",
        "sales",
        "--ignore-lockout-failure-attempts",
        "--description",
        "d",
    )
    listed("user list", "--domain", "sales", "--long")
    ask(
        "user set",
        "alice",
        "--domain",
        "sales",
        "--email",
        "b@example.org",
        "--enable-multi-factor-auth",
        "--multi-factor-auth-rule",
        "password",
    )
    listed("user show", "alice", "--domain", "sales")
    made("group create", "crew", "--domain", "sales", "--description", "d")
    listed("group list", "--domain", "sales", "--long")
    ask("group set", "crew", "--domain", "sales", "--description", "e")
    listed("group show", "crew", "--domain", "sales")
    ask("group add user", "crew", "alice", "--group-domain", "sales", "--user-domain", "sales")
    ask("group contains user", "crew", "alice", "--group-domain", "sales", "--user-domain", "sales")
    listed("group list", "--user", "alice", "--user-domain", "sales")


def roles() -> None:
    made("role create", "observer", "--description", "d")
    made("role create", "clerk", "--domain", "sales")
    listed("role list")
    ask("role set", "observer", "--description", "e")
    listed("role show", "observer")
    listed("implied role create", "observer", "--implied-role", "reader")
    listed("implied role list")
    ask("implied role delete", "observer", "--implied-role", "reader")
    where = ("--project", "shop", "--project-domain", "sales")
    who = ("--user", "alice", "--user-domain", "sales")
    ask("role add", *where, *who, "member")
    ask("role add", "--domain", "sales", *who, "reader")
    ask("role add", "--system", "all", "--group", "crew", "--group-domain", "sales", "reader")
    ask(
        "role add", "--inherited", "--domain", "sales", "--group", "crew", "--group-domain", "sales", "reader"
    )
    found = listed(
        "role assignment list", "--names", "--user", "alice", "--user-domain", "sales", "--effective"
    )
    if not any(each["Role"].startswith("member") for each in found):
        RAN["role assignment list"] = f"no member in {found}"
    ask("role remove", "--domain", "sales", *who, "reader")
    ask("role remove", "--system", "all", "--group", "crew", "--group-domain", "sales", "reader")


def credentials(me: str, project: str) -> None:
    credential = made("credential create", me, "--type", "cert", json.dumps({"k": "v"}))
    listed("credential list")
    ask("credential set", credential, "--user", me, "--type", "cert", "--data", json.dumps({"k": "w"}))
    listed("credential show", credential)
    ask("credential delete", credential)
    pair = ask("ec2 credentials create", shows=True)
    listed("ec2 credentials list")
    listed("ec2 credentials show", pair["access"])
    ask("ec2 credentials delete", pair["access"])
    rules = json.dumps([{"path": "/v2.1/servers", "method": "GET", "service": "compute"}])
    made(
        "application credential create",
        "robot",
        "--secret",
        "S3cret",
        "--role",
        "member",
        "--access-rules",
        rules,
        "--expiration",
        "2099-01-01T00:00:00",
    )
    listed("application credential list")
    listed("application credential show", "robot")
    (rule,) = listed("access rule list")
    listed("access rule show", rule["ID"])
    ask("application credential delete", "robot")
    ask("access rule delete", rule["ID"])
    trust = made("trust create", me, me, "--project", project, "--role", "member", "--impersonate")
    listed("trust list")
    listed("trust show", trust)
    ask("trust delete", trust)


def catalogue() -> None:
    listed("catalog list")
    listed("catalog show", "compute")
    made("region create", "west", "--description", "d")
    listed("region list")
    ask("region set", "west", "--description", "e")
    listed("region show", "west")
    service = made("service create", "paging", "--name", "pager", "--description", "d")
    listed("service list", "--long")
    ask("service set", service, "--description", "e")
    listed("service show", service)
    endpoint = made(
        "endpoint create", "pager", "public", "http://127.0.0.1:1/$(project_id)s", "--region", "west"
    )
    listed("endpoint list", "--region", "west")
    ask("endpoint set", endpoint, "--url", "http://127.0.0.1:2/")
    listed("endpoint show", endpoint)
    project = listed("project show", "shop", "--domain", "sales")["id"]
    ask("endpoint add project", endpoint, project)
    ask("endpoint remove project", endpoint, project)
    (SCRATCH / "filters.json").write_text(json.dumps({"region_id": "west"}))
    group = made("endpoint group create", "far", str(SCRATCH / "filters.json"), "--description", "d")
    listed("endpoint group list")
    ask("endpoint group set", group, "--name", "farther")
    listed("endpoint group show", group)
    ask("endpoint group add project", group, project)
    ask("endpoint group remove project", group, project)
    ask("endpoint group delete", group)
    limits(service)
    ask("endpoint delete", endpoint)
    ask("service delete", service)
    ask("region delete", "west")
    (SCRATCH / "policy.json").write_text("{}")
    policy = made("policy create", str(SCRATCH / "policy.json"), "--type", "application/json")
    listed("policy list", "--long")
    ask("policy set", policy, "--type", "text/plain")
    listed("policy show", policy)
    ask("policy delete", policy)


def limits(service: str) -> None:
    default = made(
        "registered limit create", "pages", "--service", service, "--default-limit", "7", "--region", "west"
    )
    listed("registered limit list", "--service", service)
    ask("registered limit set", default, "--default-limit", "8")
    listed("registered limit show", default)
    limit = made(
        "limit create",
        "pages",
        "--project",
        "admin",
        "--service",
        service,
        "--resource-limit",
        "9",
        "--region",
        "west",
    )
    listed("limit list", "--service", service)
    ask("limit set", limit, "--resource-limit", "10")
    listed("limit show", limit)
    ask("limit delete", limit)
    ask("registered limit delete", default)


def federation() -> None:
    (SCRATCH / "rules.json").write_text(
        json.dumps([{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "sub"}]}])
    )
    made("mapping create", "m", "--rules", str(SCRATCH / "rules.json"))
    listed("mapping list")
    ask("mapping set", "m", "--rules", str(SCRATCH / "rules.json"))
    listed("mapping show", "m")
    made("identity provider create", "idp", "--remote-id", "https://idp.example.org", "--domain", "sales")
    listed("identity provider list")
    ask("identity provider set", "idp", "--disable")
    listed("identity provider show", "idp")
    made("federation protocol create", "openid", "--identity-provider", "idp", "--mapping", "m")
    listed("federation protocol list", "--identity-provider", "idp")
    ask("federation protocol set", "openid", "--identity-provider", "idp", "--mapping", "m")
    listed("federation protocol show", "openid", "--identity-provider", "idp")
    ask("federation protocol delete", "openid", "--identity-provider", "idp")
    ask("identity provider delete", "idp")
    ask("mapping delete", "m")
    words = (
        "--auth-url",
        "https://sp.example.org/v3",
        "--service-provider-url",
        "https://sp.example.org/sso",
    )
    made("service provider create", "sp", *words)
    listed("service provider list")
    ask("service provider set", "sp", "--description", "d")
    listed("service provider show", "sp")
    ask("service provider delete", "sp")
    listed("federation domain list")
    listed("federation project list")


def oauth(project: str) -> None:
    consumer = ask("consumer create", "--description", "d", shows=True)
    listed("consumer list")
    ask("consumer set", consumer["id"], "--description", "e")
    listed("consumer show", consumer["id"])
    signed = ("--consumer-key", consumer["id"], "--consumer-secret", consumer["secret"])
    request = ask("request token create", *signed, "--project", project, shows=True)
    allowed = ask("request token authorize", "--request-key", request["id"], "--role", "member", shows=True)
    words = ("--request-key", request["id"], "--request-secret", request["secret"])
    ask("access token create", *signed, *words, "--verifier", allowed["oauth_verifier"], shows=True)
    ask("consumer delete", consumer["id"])


def leave(password: str) -> None:
    # Before the password changes: the client keeps its first connection for this one.
    ask("token revoke", ask("token issue", shows=True)["id"])
    ask("user password set", "--original-password", password, "--password", f"{password}-2")
    os.environ["OS_PASSWORD"] = f"{password}-2"
    ask("group remove user", "crew", "alice", "--group-domain", "sales", "--user-domain", "sales")
    ask("group delete", "crew", "--domain", "sales")
    ask("user delete", "alice", "--domain", "sales")
    ask("project delete", "shop-east", "--domain", "sales")
    ask("project delete", "shop", "--domain", "sales")
    ask("role delete", "observer")
    ask("domain set", "sales", "--disable")
    ask("domain delete", "sales")
    ask("user password set", "--original-password", f"{password}-2", "--password", password)


def main() -> None:
    known = ask("command list", "--group", "openstack.identity.v3", shows=True)
    commands = [command for group in known for command in group["Commands"]]
    mine = ask("token issue", shows=True)
    me, project = mine["user_id"], mine["project_id"]
    parts = (
        domains_projects_users,
        roles,
        catalogue,
        federation,
        lambda: credentials(me, project),
        lambda: oauth(project),
        lambda: leave(sys.argv[2]),
    )
    broken = []
    for part in parts:
        try:
            part()
        except (LookupError, TypeError, ValueError):  # a command before it failed, and says why
            broken.append(traceback.format_exc(limit=2))
    del RAN["command list"]
    failed = {command: said for command, said in RAN.items() if said}
    print(json.dumps({"commands": commands, "ran": sorted(RAN), "failed": failed, "broken": broken}))


main()
