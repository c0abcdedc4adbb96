"""The rules of the compute API with the original's names and defaults."""

ADMIN = "rule:context_is_admin"
MEMBER = "rule:project_member_or_admin"
READER = "rule:project_reader_or_admin"
ANY = "@"
PREFIX = "os_compute_api:"

BASE = {
    "context_is_admin": "role:admin",
    "admin_api": "is_admin:True",
    "project_member_api": "role:member and project_id:%(project_id)s",
    "project_reader_api": "role:reader and project_id:%(project_id)s",
    "project_member_or_admin": "rule:project_member_api or rule:context_is_admin",
    "project_reader_or_admin": "rule:project_reader_api or rule:context_is_admin",
    "admin_or_owner_user": "rule:context_is_admin or user_id:%(user_id)s",
}

RULES = {
    READER: (
        "servers:index servers:detail servers:show servers:show:flavor-extra-specs ips:index ips:show "
        "server-metadata:index server-metadata:show os-server-tags:index os-server-tags:show "
        "os-instance-actions:list os-instance-actions:show os-attach-interfaces:list "
        "os-attach-interfaces:show os-volumes-attachments:index os-volumes-attachments:show "
        "os-security-groups:list os-flavor-extra-specs:index os-flavor-extra-specs:show "
        "os-quota-sets:show os-flavor-access limits "
        "os-simple-tenant-usage:show os-server-groups:index os-server-groups:show"
    ),
    MEMBER: (
        "servers:create servers:update servers:delete servers:start servers:stop servers:reboot "
        "servers:create:attach_volume servers:create:attach_network servers:create:trusted_certs "
        "server-metadata:create server-metadata:update server-metadata:update_all server-metadata:delete "
        "os-server-tags:update os-server-tags:update_all os-server-tags:delete os-server-tags:delete_all "
        "os-pause-server:pause os-pause-server:unpause os-suspend-server:suspend os-suspend-server:resume "
        "os-lock-server:lock os-lock-server:unlock os-remote-consoles os-console-output "
        "os-deferred-delete:restore os-deferred-delete:force os-attach-interfaces:create "
        "os-attach-interfaces:delete os-volumes-attachments:create os-volumes-attachments:update "
        "os-volumes-attachments:delete os-security-groups:add os-security-groups:remove "
        "os-floating-ips:add os-floating-ips:remove os-server-groups:create os-server-groups:delete"
    ),
    ADMIN: (
        "servers:index:get_all_tenants servers:detail:get_all_tenants servers:create:forced_host "
        "servers:show:host_status servers:allow_all_filters os-extended-server-attributes "
        "os-admin-actions:reset_state os-lock-server:unlock:unlock_override "
        "os-flavor-manage:create os-flavor-manage:update os-flavor-manage:delete "
        "os-flavor-access:add_tenant_access os-flavor-access:remove_tenant_access "
        "os-flavor-extra-specs:create os-flavor-extra-specs:update os-flavor-extra-specs:delete "
        "os-hypervisors:list os-hypervisors:list-detail os-hypervisors:show os-hypervisors:statistics "
        "os-hypervisors:search os-hypervisors:servers os-hypervisors:uptime "
        "os-services:list os-services:update os-services:delete os-availability-zone:detail "
        "os-quota-sets:update os-quota-sets:delete os-quota-sets:detail os-instance-actions:events "
        "os-quota-class-sets:show os-quota-class-sets:update "
        "os-flavor-access:list limits:other_project os-instance-actions:events:details "
        "os-aggregates:index os-aggregates:create os-aggregates:show os-aggregates:update os-aggregates:delete "
        "os-aggregates:add_host os-aggregates:remove_host os-aggregates:set_metadata "
        "os-server-groups:index:all_projects"
    ),
    ANY: "os-quota-sets:defaults os-availability-zone:list extensions",
    "rule:admin_or_owner_user": "os-keypairs:index os-keypairs:show os-keypairs:create os-keypairs:delete",
}

POLICIES = BASE | {f"{PREFIX}{name}": rule for rule, names in RULES.items() for name in names.split()}
POLICIES |= {
    "compute:servers:create:requested_destination": ADMIN,
    # The original lets a project see the detail of its own quota.
    f"{PREFIX}os-quota-sets:detail": READER,
}
