"""All faces on one kernel."""

import importlib
import pkgutil

import pileus.faces.openstack as openstack
from pileus.faces import cloudstack, console
from pileus.faces.wire import Kernel, Service
from pileus.workflows.site import Site


def services() -> tuple[Service, ...]:
    """Each package of OpenStack's face exports its service as SERVICE, or several as SERVICES; the console has one."""
    found: list[Service] = []
    for module in pkgutil.iter_modules(openstack.__path__):
        if module.ispkg:
            package = importlib.import_module(f"{openstack.__name__}.{module.name}")
            found += getattr(package, "SERVICES", None) or (package.SERVICE,)
    return (*found, console.SERVICE)


def kernel(site: Site) -> Kernel:
    config = site.cloud.config
    made = Kernel(
        services(),
        cloud=site.cloud,
        site=site,
        policy_directory=config.state / "policy",
        max_body_bytes=config.max_body_bytes,
        max_upload_bytes=config.max_image_bytes,
        trusted_proxies=config.proxies,
    )
    cloudstack.mount(made)
    console.mount(made)
    return made
