"""The rules of the roles that every cloud has, as CloudStack ships them: on the commands that this cloud serves."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

from pileus.core.identity.tenancy.account_roles import RuleWant
from pileus.core.identity.tenancy.tenancy_records import AccountRole, RoleType
from pileus.faces.cloudstack.catalogue import CATALOGUE

EVERY, UPLOADS = "*", "getUploadParamsFor*"
LOOKING = ("cloudianIsEnabled", "queryAsyncJobResult", "quotaIsEnabled", "quotaTariffList", "quotaSummary")
QUOTA_OF_ADMINS = ("quotaStatement", "quotaBalance")
SECOND_FACTOR = ("setupUserTwoFactorAuthentication", "validateUserTwoFactorAuthenticationCode")
SUPPORT = (
    "startVirtualMachine",
    "stopVirtualMachine",
    "rebootVirtualMachine",
    "startKubernetesCluster",
    "stopKubernetesCluster",
    "createVolume",
    "attachVolume",
    "detachVolume",
    "uploadVolume",
    "attachIso",
    "detachIso",
    "registerTemplate",
    "registerIso",
)
SUPPORT_OF_ADMINS = (
    "prepareHostForMaintenance",
    "cancelHostMaintenance",
    "enableStorageMaintenance",
    "cancelStorageMaintenance",
    "createServiceOffering",
    "createDiskOffering",
    "createNetworkOffering",
    "createVPCOffering",
)


def of(role: AccountRole) -> Sequence[RuleWant]:
    """Of a default role, in order; none for other roles, whose rules are records."""
    return TABLES[role.name]() if role.default else ()


def allowed(names: Iterable[str]) -> list[RuleWant]:
    return [RuleWant(rule=name, allow=True) for name in names]


def nothing_else() -> RuleWant:
    return RuleWant(rule=EVERY, allow=False)


@cache
def _of_type(type_: RoleType) -> tuple[RuleWant, ...]:
    """What the type may call, each by its name."""
    names = sorted(name for name, entry in CATALOGUE.commands.items() if type_ in (entry.roles or RoleType))
    return tuple(allowed(names))


def _root() -> tuple[RuleWant, ...]:
    return tuple(allowed([EVERY]))


def _looking_admin() -> list[RuleWant]:
    uploads = RuleWant(rule=UPLOADS, allow=False)
    return [
        *allowed(["list*"]),
        uploads,
        *allowed(["get*", *LOOKING, *QUOTA_OF_ADMINS, *SECOND_FACTOR]),
    ]


def _looking_user() -> list[RuleWant]:
    names = [rule.rule for rule in _of_type(RoleType.USER)]
    lists = [name for name in names if name.startswith("list")]
    gets = [name for name in names if name.startswith("get") and not name.startswith(UPLOADS[:-1])]
    extra = [name for name in (*LOOKING, *QUOTA_OF_ADMINS, *SECOND_FACTOR) if name not in (*lists, *gets)]
    return allowed([*lists, *gets, *extra])


@cache
def _read_only_admin() -> tuple[RuleWant, ...]:
    return (*_looking_admin(), nothing_else())


@cache
def _read_only_user() -> tuple[RuleWant, ...]:
    return (*_looking_user(), nothing_else())


@cache
def _support_admin() -> tuple[RuleWant, ...]:
    looking = [rule for rule in _looking_admin() if rule.allow]
    return (*looking, *allowed([*SUPPORT_OF_ADMINS, *SUPPORT]), nothing_else())


@cache
def _support_user() -> tuple[RuleWant, ...]:
    return (*_looking_user(), *allowed([*SUPPORT, UPLOADS]), nothing_else())


TABLES: Mapping[str, Callable[[], Sequence[RuleWant]]] = {
    "Root Admin": _root,
    "Resource Admin": lambda: _of_type(RoleType.RESOURCE_ADMIN),
    "Domain Admin": lambda: _of_type(RoleType.DOMAIN_ADMIN),
    "User": lambda: _of_type(RoleType.USER),
    "Read-Only Admin - Default": _read_only_admin,
    "Read-Only User - Default": _read_only_user,
    "Support Admin - Default": _support_admin,
    "Support User - Default": _support_user,
}
