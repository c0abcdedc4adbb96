"""/v3/domains/{domain}/config: what a domain sets for itself, and what holds where it does not."""

from typing import Any

from pileus.core.errors import Forbidden
from pileus.core.identity import domain_settings as core
from pileus.core.identity.domain_settings import Settings
from pileus.faces.openstack.identity.refs import DEFAULT, domain_key
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request, Response

CONFIG = "/v3/domains/{domain}/config"
GROUP = CONFIG + "/{group}"
OPTION = GROUP + "/{option}"
COMPLIANCE = "security_compliance"
READABLE = ("password_regex", "password_regex_description")
"""What everybody may know of the rules for passwords, so that a client can check a new one."""
BODY = ("config", dict[str, Any])


def view(settings: Settings, group: str | None = None, option: str | None = None) -> dict[str, Any]:
    """An option that was asked for stands without its group."""
    shown: dict[str, Any] = settings
    if group is not None and option is not None:
        shown = settings[group]
    return {"config": shown}


def compliance(request: Request, domain: str, option: str | None) -> dict[str, Any]:
    request.enforce("identity:get_security_compliance_domain_config")
    if domain != DEFAULT:
        raise Forbidden(
            "Invalid domain specific configuration: Reading security compliance information for any domain "
            "other than the default domain is not allowed or supported."
        )
    if option is not None and option not in READABLE:
        raise Forbidden(
            "Invalid domain specific configuration: Of security compliance only "
            f"{' and '.join(READABLE)} can be read."
        )
    config = request.cloud.config
    values = dict(zip(READABLE, (config.password_regex, config.password_regex_description), strict=True))
    shown = {name: values[name] or None for name in READABLE if option in (None, name)}
    return view({COMPLIANCE: shown}, COMPLIANCE, option)


async def show(
    request: Request, domain: str, group: str | None = None, option: str | None = None
) -> dict[str, Any]:
    request.enforce("identity:get_domain_config")
    found = await core.show(request.cloud, request.caller, domain_key(domain), group, option)
    return view(found, group, option)


@SERVICE.operation("PUT", CONFIG, policy="identity:create_domain_config", body=BODY, status=201)
async def create(request: Request, domain: str, body: dict[str, Any]) -> Response:
    made, new = await core.create(request.cloud, request.caller, domain_key(domain), body)
    return Response(201 if new else 200, view(made))


@SERVICE.operation("GET", CONFIG, policy="identity:get_domain_config")
async def show_all(request: Request, domain: str) -> dict[str, Any]:
    return await show(request, domain)


@SERVICE.operation("GET", GROUP, policy="identity:get_domain_config", targeted=True)
async def show_group(request: Request, domain: str, group: str) -> dict[str, Any]:
    if group == COMPLIANCE:
        return compliance(request, domain, None)
    return await show(request, domain, group)


@SERVICE.operation("GET", OPTION, policy="identity:get_domain_config", targeted=True)
async def show_option(request: Request, domain: str, group: str, option: str) -> dict[str, Any]:
    if group == COMPLIANCE:
        return compliance(request, domain, option)
    return await show(request, domain, group, option)


@SERVICE.operation("PATCH", CONFIG, policy="identity:update_domain_config", body=BODY)
async def update(request: Request, domain: str, body: dict[str, Any]) -> dict[str, Any]:
    return view(await core.update(request.cloud, request.caller, domain_key(domain), body))


@SERVICE.operation("PATCH", GROUP, policy="identity:update_domain_config", body=BODY)
async def update_group(request: Request, domain: str, group: str, body: dict[str, Any]) -> dict[str, Any]:
    return view(await core.update(request.cloud, request.caller, domain_key(domain), body, group))


@SERVICE.operation("PATCH", OPTION, policy="identity:update_domain_config", body=BODY)
async def update_option(
    request: Request, domain: str, group: str, option: str, body: dict[str, Any]
) -> dict[str, Any]:
    key = domain_key(domain)
    return view(await core.update(request.cloud, request.caller, key, body, group, option))


@SERVICE.operation("DELETE", CONFIG, policy="identity:delete_domain_config", status=204)
async def delete(request: Request, domain: str) -> None:
    await core.delete(request.cloud, request.caller, domain_key(domain))


@SERVICE.operation("DELETE", GROUP, policy="identity:delete_domain_config", status=204)
async def delete_group(request: Request, domain: str, group: str) -> None:
    await core.delete(request.cloud, request.caller, domain_key(domain), group)


@SERVICE.operation("DELETE", OPTION, policy="identity:delete_domain_config", status=204)
async def delete_option(request: Request, domain: str, group: str, option: str) -> None:
    await core.delete(request.cloud, request.caller, domain_key(domain), group, option)


@SERVICE.operation("GET", "/v3/domains/config/default", policy="identity:get_domain_config_default")
async def show_default(request: Request) -> dict[str, Any]:
    return view(core.default(request.caller))


@SERVICE.operation("GET", "/v3/domains/config/{group}/default", policy="identity:get_domain_config_default")
async def show_group_default(request: Request, group: str) -> dict[str, Any]:
    return view(core.default(request.caller, group))


@SERVICE.operation(
    "GET", "/v3/domains/config/{group}/{option}/default", policy="identity:get_domain_config_default"
)
async def show_option_default(request: Request, group: str, option: str) -> dict[str, Any]:
    return view(core.default(request.caller, group, option), group, option)
