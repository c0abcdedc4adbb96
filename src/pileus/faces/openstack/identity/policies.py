"""Keystone's rules with its default roles: administrators, readers of the system, managers and readers of a domain,
and owners."""

from collections.abc import Mapping

ADMIN = "rule:admin_required"
SYSTEM_READER = "(role:reader and system_scope:all)"
ADMIN_OR_READER = f"{ADMIN} or {SYSTEM_READER}"


def domain_reader(key: str) -> str:
    return f"(role:reader and domain_id:%({key})s)"


def domain_manager(key: str) -> str:
    return f"(role:manager and domain_id:%({key})s)"


OWN_USER = "user_id:%(target.user.id)s"
DOMAIN_MANAGER = "(role:manager and not domain_id:None)"
USER_READERS = f"{ADMIN_OR_READER} or {domain_reader('target.user.domain_id')} or {OWN_USER}"
USER_MANAGERS = f"{ADMIN} or {domain_manager('target.user.domain_id')}"
PROJECT_READERS = (
    f"{ADMIN_OR_READER} or {domain_reader('target.project.domain_id')} or project_id:%(target.project.id)s"
)
PROJECT_MANAGERS = f"{ADMIN} or {domain_manager('target.project.domain_id')}"
LISTERS = f"{ADMIN_OR_READER} or {domain_reader('target.domain_id')}"
GRANT_READERS = f"{ADMIN_OR_READER} or {domain_reader('target.domain_id')}"
GRANT_MANAGERS = f"{ADMIN} or {domain_manager('target.domain_id')}"
OWNER_OR_READER = f"{ADMIN_OR_READER} or {OWN_USER}"
OWNER_OR_ADMIN = f"{ADMIN} or {OWN_USER}"

POLICIES: Mapping[str, str] = {
    "admin_required": "role:admin or is_admin:1",
    "service_role": "role:service",
    "token_subject": "user_id:%(target.token.user_id)s",
    "identity:validate_token": f"{ADMIN_OR_READER} or rule:service_role or rule:token_subject",
    "identity:check_token": f"{ADMIN_OR_READER} or rule:token_subject",
    "identity:revoke_token": f"{ADMIN} or rule:token_subject",
    "identity:get_auth_catalog": "",
    "identity:get_auth_projects": "",
    "identity:get_auth_domains": "",
    "identity:get_auth_system": "",
    "identity:get_domain": f"{ADMIN_OR_READER} or {domain_reader('target.domain.id')}"
    " or domain_id:%(target.domain.id)s or project_domain_id:%(target.domain.id)s"
    " or user_domain_id:%(target.domain.id)s",
    "identity:list_domains": f"{ADMIN_OR_READER} or (role:reader and not domain_id:None)",
    "identity:create_domain": ADMIN,
    "identity:update_domain": ADMIN,
    "identity:delete_domain": ADMIN,
    "identity:get_project": PROJECT_READERS,
    "identity:list_projects": LISTERS,
    "identity:list_user_projects": USER_READERS,
    "identity:create_project": PROJECT_MANAGERS,
    "identity:update_project": PROJECT_MANAGERS,
    "identity:delete_project": PROJECT_MANAGERS,
    "identity:list_project_tags": PROJECT_READERS,
    "identity:get_project_tag": PROJECT_READERS,
    "identity:update_project_tags": PROJECT_MANAGERS,
    "identity:create_project_tag": PROJECT_MANAGERS,
    "identity:delete_project_tags": PROJECT_MANAGERS,
    "identity:delete_project_tag": PROJECT_MANAGERS,
    "identity:get_user": USER_READERS,
    "identity:list_users": LISTERS,
    "identity:create_user": USER_MANAGERS,
    "identity:update_user": USER_MANAGERS,
    "identity:delete_user": USER_MANAGERS,
    "identity:list_groups": LISTERS,
    "identity:list_groups_for_user": USER_READERS,
    "identity:get_group": ADMIN_OR_READER,
    "identity:create_group": ADMIN,
    "identity:get_role": f"{ADMIN_OR_READER} or {DOMAIN_MANAGER}",
    "identity:list_roles": f"{ADMIN_OR_READER} or {DOMAIN_MANAGER}",
    "identity:create_role": ADMIN,
    "identity:update_role": ADMIN,
    "identity:delete_role": ADMIN,
    "identity:get_implied_role": ADMIN_OR_READER,
    "identity:list_implied_roles": ADMIN_OR_READER,
    "identity:create_implied_role": ADMIN,
    "identity:delete_implied_role": ADMIN,
    "identity:list_role_inference_rules": ADMIN_OR_READER,
    "identity:check_implied_role": ADMIN_OR_READER,
    "identity:check_grant": GRANT_READERS,
    "identity:list_grants": GRANT_READERS,
    "identity:create_grant": GRANT_MANAGERS,
    "identity:revoke_grant": GRANT_MANAGERS,
    "identity:list_system_grants_for_user": ADMIN_OR_READER,
    "identity:check_system_grant_for_user": ADMIN_OR_READER,
    "identity:create_system_grant_for_user": ADMIN,
    "identity:revoke_system_grant_for_user": ADMIN,
    "identity:list_role_assignments": LISTERS,
    "identity:get_application_credential": OWNER_OR_READER,
    "identity:list_application_credentials": OWNER_OR_READER,
    "identity:create_application_credential": OWN_USER,
    "identity:delete_application_credential": OWNER_OR_ADMIN,
    "identity:ec2_get_credential": OWNER_OR_READER,
    "identity:ec2_list_credentials": OWNER_OR_READER,
    "identity:ec2_create_credential": OWNER_OR_ADMIN,
    "identity:ec2_delete_credential": OWNER_OR_ADMIN,
    "identity:get_region": "",
    "identity:list_regions": "",
    "identity:get_service": ADMIN_OR_READER,
    "identity:list_services": ADMIN_OR_READER,
    "identity:get_endpoint": ADMIN_OR_READER,
    "identity:list_endpoints": ADMIN_OR_READER,
    "identity:create_region": ADMIN,
    "identity:create_service": ADMIN,
    "identity:create_endpoint": ADMIN,
}
