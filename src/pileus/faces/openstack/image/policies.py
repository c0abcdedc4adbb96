"""Glance's rules by their own names. What depends on the image (its owner, its visibility) the core decides."""

OWNER = "rule:context_is_admin or (role:member and project_id:%(project_id)s)"
READ = "rule:context_is_admin or role:reader"

POLICIES = {
    "default": "",
    "context_is_admin": "role:admin",
    "add_image": OWNER,
    "get_image": READ,
    "get_images": READ,
    "modify_image": OWNER,
    "delete_image": OWNER,
    "publicize_image": "rule:context_is_admin",
    "communitize_image": OWNER,
    "download_image": "rule:context_is_admin or role:member",
    "upload_image": OWNER,
    "deactivate": OWNER,
    "reactivate": OWNER,
}
