"""Ready profiles for the clients that users already have."""

import shlex
import sys
from pathlib import Path

from pileus.cli.lifecycle import complain


def read(state: Path) -> dict[str, str]:
    """The first credentials, as the first start wrote them. Raises FileNotFoundError, PermissionError."""
    lines = (state / "credentials").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def show(state: Path, form: str, user: str) -> int:
    from pileus.app.running import found

    running = found(state.absolute())
    try:
        known = read(state)
    except FileNotFoundError:
        complain(
            f"no credentials in {state}: the cloud has not been started; run `pileus up --state {state}`"
        )
        return 1
    except PermissionError:
        complain(f"{state}/credentials is readable by root only; run this as root")
        return 1
    url = running.url if running else "http://127.0.0.1:8774"
    region = running.config.region if running else "RegionOne"
    sys.stdout.write(FORMS[form](url, region, user, known))
    return 0


def project(user: str, known: dict[str, str]) -> str:
    """The name of a first user's project; clouds of the first version did not write it down."""
    return known.get(f"{user}_project", user)


def openrc(url: str, region: str, user: str, known: dict[str, str]) -> str:
    values = {
        "OS_AUTH_URL": f"{url}/identity/v3",
        "OS_IDENTITY_API_VERSION": "3",
        "OS_USERNAME": user,
        "OS_PASSWORD": known[f"{user}_password"],
        "OS_PROJECT_NAME": project(user, known),
        "OS_USER_DOMAIN_ID": "default",
        "OS_PROJECT_DOMAIN_ID": "default",
        "OS_REGION_NAME": region,
        "OS_INTERFACE": "public",
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def clouds(url: str, region: str, user: str, known: dict[str, str]) -> str:
    return f"""\
clouds:
  pileus:
    auth:
      auth_url: {url}/identity/v3
      username: {user}
      password: {known[f"{user}_password"]}
      project_name: {project(user, known)}
      user_domain_id: default
      project_domain_id: default
    region_name: {region}
    identity_api_version: 3
"""


def cloudstack(url: str, region: str, user: str, known: dict[str, str]) -> str:
    """As `cs` reads it (~/.cloudstack.ini); the same values fit cmk."""
    return f"""\
[cloudstack]
endpoint = {url}/client/api
key = {known[f"{user}_cloudstack_access"]}
secret = {known[f"{user}_cloudstack_secret"]}
timeout = 60
"""


def aws(url: str, region: str, user: str, known: dict[str, str]) -> str:
    """Environment of awscli and boto3. The EC2 and S3 faces come later; the keys are valid then."""
    values = {
        "AWS_ACCESS_KEY_ID": known[f"{user}_ec2_access"],
        "AWS_SECRET_ACCESS_KEY": known[f"{user}_ec2_secret"],
        "AWS_DEFAULT_REGION": region,
        "AWS_ENDPOINT_URL_EC2": f"{url}/ec2",
        "AWS_ENDPOINT_URL_S3": f"{url}/s3",
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


FORMS = {"openrc": openrc, "clouds.yaml": clouds, "cloudstack": cloudstack, "aws": aws}
