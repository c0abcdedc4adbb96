"""Keystone's rules by its own names and with its defaults, so that an operator's file works unchanged.

Source: the default policies of Keystone 30.0.0. `SCOPES` says for which scopes of a token a rule can hold at all; what
is not named there holds for tokens of the system and of projects (an unscoped token counts as a project's).
"""

from collections.abc import Mapping

ADMIN = "rule:admin_required"
SYSTEM_READER = "(role:reader and system_scope:all)"
READERS = f"{ADMIN} or {SYSTEM_READER}"
ROLE_THERE = "(domain_id:%(target.role.domain_id)s or None:%(target.role.domain_id)s)"
"""The role is one of the caller's domain, or of all."""


def within(role: str) -> str:
    """The role in a domain that holds both who is to have a role and where."""
    return (
        "("
        + " or ".join(
            f"(role:{role} and domain_id:%(target.{who}.domain_id)s and domain_id:%(target.{place})s)"
            for who in ("user", "group")
            for place in ("project.domain_id", "domain.id")
        )
        + ")"
    )


def each(rule: str, names: str) -> dict[str, str]:
    """The same rule under several names."""
    return {f"identity:{name}": rule for name in names.split()}


POLICIES: Mapping[str, str] = {
    "admin_required": "role:admin or is_admin:1",
    "service_role": "role:service",
    "service_or_admin": "rule:admin_required or rule:service_role",
    "owner": "user_id:%(user_id)s",
    "admin_or_owner": "rule:admin_required or rule:owner",
    "token_subject": "user_id:%(target.token.user_id)s",
    "admin_or_token_subject": "rule:admin_required or rule:token_subject",
    "service_admin_or_token_subject": "rule:service_or_admin or rule:token_subject",
    "domain_managed_target_role": "'manager':%(target.role.name)s or 'member':%(target.role.name)s"
    " or 'reader':%(target.role.name)s",
    **each(
        f"{SYSTEM_READER} or user_id:%(target.user.id)s",
        "get_access_rule list_access_rules",
    ),
    **each(
        "(role:admin and system_scope:all) or user_id:%(target.user.id)s",
        "delete_access_rule",
    ),
    **each(
        ADMIN,
        "authorize_request_token get_access_token get_access_token_role list_access_tokens "
        "list_access_token_roles delete_access_token create_consumer update_consumer delete_consumer "
        "create_domain update_domain delete_domain create_domain_config update_domain_config "
        "delete_domain_config create_endpoint update_endpoint delete_endpoint create_endpoint_group "
        "update_endpoint_group delete_endpoint_group add_endpoint_group_to_project "
        "remove_endpoint_group_from_project create_system_grant_for_user revoke_system_grant_for_user "
        "create_system_grant_for_group revoke_system_grant_for_group create_identity_provider "
        "update_identity_provider delete_identity_provider create_implied_role delete_implied_role "
        "create_limits update_limit delete_limit create_mapping delete_mapping update_mapping create_policy "
        "update_policy delete_policy create_policy_association_for_endpoint "
        "delete_policy_association_for_endpoint create_policy_association_for_service "
        "delete_policy_association_for_service create_policy_association_for_region_and_service "
        "delete_policy_association_for_region_and_service add_endpoint_to_project "
        "remove_endpoint_from_project create_protocol update_protocol delete_protocol create_region "
        "update_region delete_region create_registered_limits update_registered_limit delete_registered_limit "
        "create_role update_role delete_role create_domain_role update_domain_role delete_domain_role "
        "create_service update_service delete_service create_service_provider update_service_provider "
        "delete_service_provider",
    ),
    **each(
        f"{READERS} or rule:owner",
        "get_application_credential list_application_credentials ec2_list_credentials",
    ),
    **each(
        "user_id:%(user_id)s",
        "create_application_credential",
    ),
    **each(
        "rule:admin_or_owner",
        "delete_application_credential revoke_tokens_for_user",
    ),
    **each(
        "",
        "get_auth_catalog get_auth_projects get_auth_domains get_auth_system list_projects_for_user "
        "list_domains_for_user get_security_compliance_domain_config get_limit_model list_limits get_region "
        "list_regions get_registered_limit list_registered_limits",
    ),
    **each(
        READERS,
        "get_consumer list_consumers get_domain_config get_domain_config_default get_endpoint list_endpoints "
        "list_endpoint_groups get_endpoint_group list_projects_associated_with_endpoint_group "
        "list_endpoints_associated_with_endpoint_group get_endpoint_group_in_project "
        "list_endpoint_groups_for_project list_system_grants_for_user check_system_grant_for_user "
        "list_system_grants_for_group check_system_grant_for_group list_identity_providers "
        "get_identity_provider get_implied_role list_implied_roles list_role_inference_rules "
        "check_implied_role get_mapping list_mappings get_policy list_policies "
        "check_policy_association_for_endpoint check_policy_association_for_service "
        "check_policy_association_for_region_and_service get_policy_for_endpoint list_endpoints_for_policy "
        "list_projects_for_endpoint check_endpoint_in_project list_endpoints_for_project get_protocol "
        "list_protocols get_domain_role list_domain_roles get_service list_services list_service_providers "
        "get_service_provider list_trusts",
    ),
    **each(
        f"{READERS} or user_id:%(target.credential.user_id)s",
        "get_credential list_credentials ec2_get_credential",
    ),
    **each(
        f"{ADMIN} or user_id:%(target.credential.user_id)s",
        "create_credential update_credential delete_credential",
    ),
    **each(
        f"{READERS} or token.domain.id:%(target.domain.id)s or token.project.domain.id:%(target.domain.id)s",
        "get_domain",
    ),
    **each(
        f"{READERS} or (role:reader and domain_id:%(target.domain.id)s)",
        "list_domains",
    ),
    **each(
        f"{ADMIN} or (role:member and user_id:%(target.credential.user_id)s)",
        "ec2_create_credential ec2_delete_credential",
    ),
    **each(
        f"{ADMIN} or ({SYSTEM_READER} or {within('reader')} and {ROLE_THERE})",
        "check_grant",
    ),
    **each(
        f"{ADMIN} or ({SYSTEM_READER} or {within('reader')[1:-1]})",
        "list_grants",
    ),
    **each(
        f"{ADMIN} or {within('admin')} and {ROLE_THERE} or "
        f"{within('manager')} and rule:domain_managed_target_role",
        "create_grant revoke_grant",
    ),
    **each(
        f"{READERS} or (role:reader and domain_id:%(target.group.domain_id)s)",
        "get_group list_groups list_users_in_group",
    ),
    **each(
        f"{READERS} or (role:reader and domain_id:%(target.user.domain_id)s) or user_id:%(user_id)s",
        "list_groups_for_user",
    ),
    **each(
        f"{ADMIN} or (role:manager and domain_id:%(target.group.domain_id)s)",
        "create_group update_group delete_group",
    ),
    **each(
        f"{ADMIN} or "
        "(role:manager and domain_id:%(target.group.domain_id)s and domain_id:%(target.user.domain_id)s)",
        "remove_user_from_group add_user_to_group",
    ),
    **each(
        f"{READERS} or "
        "(role:reader and domain_id:%(target.group.domain_id)s and domain_id:%(target.user.domain_id)s)",
        "check_user_in_group",
    ),
    **each(
        f"{READERS} or (domain_id:%(target.limit.domain.id)s or "
        "domain_id:%(target.limit.project.domain_id)s) or "
        "(project_id:%(target.limit.project_id)s and not None:%(target.limit.project_id)s)",
        "get_limit",
    ),
    **each(
        f"{READERS} or "
        "(role:reader and domain_id:%(target.project.domain_id)s and not None:%(target.project.domain_id)s) or "
        "project_id:%(target.project.id)s",
        "get_project list_project_tags get_project_tag",
    ),
    **each(
        f"{READERS} or (role:reader and domain_id:%(target.domain_id)s)",
        "list_projects list_users",
    ),
    **each(
        f"{READERS} or (role:reader and domain_id:%(target.user.domain_id)s) or user_id:%(target.user.id)s",
        "list_user_projects",
    ),
    **each(
        f"{ADMIN} or "
        "(role:manager and domain_id:%(target.project.domain_id)s and not None:%(target.project.domain_id)s)",
        "create_project update_project delete_project update_project_tags create_project_tag "
        "delete_project_tags delete_project_tag",
    ),
    **each(
        "rule:service_or_admin",
        "list_revoke_events revocation_list s3tokens_validate ec2tokens_validate",
    ),
    **each(
        f"{READERS} or (role:manager and rule:domain_managed_target_role)",
        "get_role",
    ),
    **each(
        f"{READERS} or (role:manager and not domain_id:None)",
        "list_roles",
    ),
    **each(
        f"{READERS} or (role:reader and domain_id:%(target.domain_id)s and not None:%(target.domain_id)s)",
        "list_role_assignments list_role_assignments_for_tree",
    ),
    **each(
        f"{READERS} or rule:token_subject",
        "check_token",
    ),
    **each(
        f"{READERS} or rule:service_role or rule:token_subject",
        "validate_token",
    ),
    **each(
        f"{ADMIN} or rule:token_subject",
        "revoke_token",
    ),
    **each(
        "user_id:%(target.trust.trustor_user_id)s",
        "create_trust",
    ),
    **each(
        f"{ADMIN} or (role:reader and system_scope:all or user_id:%(target.trust.trustor_user_id)s)",
        "list_trusts_for_trustor",
    ),
    **each(
        f"{ADMIN} or (role:reader and system_scope:all or user_id:%(target.trust.trustee_user_id)s)",
        "list_trusts_for_trustee",
    ),
    **each(
        f"{ADMIN} or (role:reader and system_scope:all or "
        "user_id:%(target.trust.trustor_user_id)s or user_id:%(target.trust.trustee_user_id)s)",
        "list_roles_for_trust get_role_for_trust get_trust",
    ),
    **each(
        f"{ADMIN} or user_id:%(target.trust.trustor_user_id)s",
        "delete_trust",
    ),
    **each(
        f"{READERS} or (role:reader and token.domain.id:%(target.user.domain_id)s) or "
        "user_id:%(target.user.id)s",
        "get_user",
    ),
    **each(
        f"{ADMIN} or (role:manager and token.domain.id:%(target.user.domain_id)s)",
        "create_user update_user delete_user",
    ),
}
"""By name, as oslo.policy has them."""

EVERY_SCOPE = frozenset({"system", "domain", "project"})
ANYWHERE = (
    "get_credential list_credentials create_credential update_credential delete_credential get_domain "
    "list_domains get_security_compliance_domain_config get_limit_model list_limits get_region "
    "list_regions get_registered_limit list_registered_limits check_grant list_grants create_grant "
    "revoke_grant get_group list_groups list_users_in_group list_groups_for_user create_group "
    "update_group delete_group remove_user_from_group add_user_to_group check_user_in_group get_limit "
    "get_project list_project_tags get_project_tag list_projects list_users list_user_projects "
    "create_project update_project delete_project update_project_tags create_project_tag "
    "delete_project_tags delete_project_tag get_role list_roles list_role_assignments "
    "list_role_assignments_for_tree s3tokens_validate ec2tokens_validate check_token validate_token "
    "revoke_token get_user create_user update_user delete_user revoke_tokens_for_user get_auth_catalog "
    "get_auth_projects get_auth_domains get_auth_system list_projects_for_user list_domains_for_user"
)
IN_PROJECTS = (
    "authorize_request_token get_access_token get_access_token_role list_access_tokens "
    "list_access_token_roles delete_access_token create_application_credential create_trust"
)
SCOPES: Mapping[str, frozenset[str]] = {
    name: EVERY_SCOPE
    if name.removeprefix("identity:") in ANYWHERE.split()
    else frozenset({"project"})
    if name.removeprefix("identity:") in IN_PROJECTS.split()
    else frozenset({"system", "project"})
    for name in POLICIES
    if name.startswith("identity:")
}
