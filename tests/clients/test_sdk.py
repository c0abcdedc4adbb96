"""openstacksdk, unmodified, with the clouds.yaml that `pileus credentials` prints."""

import json
from pathlib import Path

from tests.clients.cloud import CLIENTS, RealCloud, run

SCRIPT = """
import json, sys
import openstack

cloud = openstack.connect(cloud="pileus")
network = cloud.network.create_network(name="sdk")
subnet = cloud.network.create_subnet(name="sdk", network_id=network.id, ip_version=4, cidr="10.80.0.0/24")
image = cloud.image.find_image(sys.argv[1])
flavor = cloud.compute.find_flavor("tiny")
server = cloud.create_server("sdk", image=image.id, flavor=flavor.id, network=network.id, auto_ip=False, wait=True, timeout=120)
volume = cloud.create_volume(1, wait=True, name="sdk")
cloud.attach_volume(server, volume, wait=True)
seen = cloud.block_storage.get_volume(volume.id)
snapshot = cloud.create_volume_snapshot(volume.id, force=True, wait=True)
cloud.delete_volume_snapshot(snapshot.id, wait=True)
cloud.detach_volume(server, volume, wait=True)
cloud.delete_volume(volume.id, wait=True)
state = [cloud.compute.get_server(server.id).status]
cloud.compute.stop_server(server)
state.append(cloud.compute.wait_for_server(server, status="SHUTOFF", wait=120).status)
cloud.delete_server(server.id, wait=True)
cloud.delete_network(network.id)
project = cloud.identity.create_project(name="sdk-project", domain_id="default")
cloud.identity.delete_project(project)
print(json.dumps({"status": state, "volume": seen.status, "left": [s.name for s in cloud.compute.servers()]}))
"""


def test_the_sdk_makes_uses_and_deletes(cloud: RealCloud, image: str, tmp_path: Path) -> None:
    profile = tmp_path / "clouds.yaml"
    profile.write_text(cloud.credentials("clouds.yaml"))
    environment = {"OS_CLIENT_CONFIG_FILE": str(profile)}
    told = json.loads(run([CLIENTS / "python", "-c", SCRIPT, image], env=environment, timeout=600))
    assert told["status"] == ["ACTIVE", "SHUTOFF"]
    assert told["volume"] == "in-use"
    assert "sdk" not in told["left"]
