"""One trace from a request through the operation's steps to the platforms, as a collector receives it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from pileus.app.otlp import Exporter
from pileus.core.events import Event
from pileus.core.operations import Operation
from pileus.faces import cloudstack
from pileus.faces.wire import Kernel
from pileus.workflows import server_deploy
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests.asgi import Client
from tests.contract.openstack.conftest import Person

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


class Collector:
    """What was posted to /v1/traces; `away`: how many posts it refuses first."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.resources: list[dict[str, Any]] = []
        self.away = 0
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                right = (self.path, self.headers["content-type"]) == ("/v1/traces", "application/json")
                collector.away -= 1
                if right and collector.away < 0:
                    collector.take(msgspec.json.decode(body))
                self.send_response(503 if collector.away >= 0 else 200 if right else 400)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, sent: Any) -> None:
        for resource in sent["resourceSpans"]:
            self.resources.append(resource["resource"])
            for scope in resource["scopeSpans"]:
                self.spans += scope["spans"]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
async def exporter(collector: Collector, site: Site) -> AsyncIterator[Exporter]:
    made = Exporter(collector.url)
    await made.start()
    site.cloud.spans = made.take
    yield made
    await made.stop()


async def create(member: Person, admin: Person, headers: dict[str, str]) -> str:
    image = {"name": "i", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
    made = (await admin.post("/image/v2/images", json=image)).json()
    octets = {"content-type": "application/octet-stream"}
    await admin.put(f"/image/v2/images/{made['id']}/file", data=b"\0" * 1024, headers=octets)
    wanted = {"name": "s", "flavorRef": "1", "imageRef": made["id"], "networks": "none"}
    versioned = {"openstack-api-version": "compute 2.37", **headers}
    reply = await member.post("/compute/v2.1/servers", json={"server": wanted}, headers=versioned)
    assert reply.status == 202, reply.text
    return str(reply.json()["server"]["id"])


async def test_one_server_s_creation_is_one_trace(
    member: Person, admin: Person, worker: Worker, exporter: Exporter, collector: Collector
) -> None:
    server = await create(member, admin, SENT)
    await worker.idle()
    collector.away = 1
    await exporter.flush()
    await exporter.flush()
    spans = [span for span in collector.spans if span["traceId"] == TRACE]
    by_id = {span["spanId"]: span for span in spans}
    (request,) = (span for span in spans if span["kind"] == 2)
    assert (request["name"], request["parentSpanId"]) == ("compute/v2.1 POST /servers", SPAN)
    assert {"key": "http.response.status_code", "value": {"intValue": "202"}} in request["attributes"]
    steps = [span for span in spans if span["kind"] == 1]
    assert {f"server.deploy {step.name}" for step in server_deploy.WORKFLOW.steps} == {
        span["name"] for span in steps
    }
    assert {span["parentSpanId"] for span in steps} == {request["spanId"]}
    assert {"key": "pileus.subject", "value": {"stringValue": server}} in steps[0]["attributes"]
    calls = {span["name"]: by_id[span["parentSpanId"]]["name"] for span in spans if span["kind"] == 3}
    assert calls["simulated define"] == "server.deploy define"
    assert calls["simulated start"] == "server.deploy start"
    assert calls["simulated create_from_base"] == "server.deploy disks"
    assert all(int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) for span in spans)
    name = {"key": "service.name", "value": {"stringValue": "pileus"}}
    assert all(name in resource["attributes"] for resource in collector.resources)


async def test_operations_and_events_keep_the_trace_of_their_request_without_a_collector(
    member: Person, admin: Person, worker: Worker, site: Site
) -> None:
    server = await create(member, admin, SENT)
    await worker.idle()
    async with site.cloud.view() as look:
        (operation,) = await look.list(Operation, workflow="server.deploy")
        events = await look.list(Event, subject=operation.subject)
    assert str(operation.subject) == server
    assert operation.trace == SENT["traceparent"]
    assert {event.trace for event in events} == {SENT["traceparent"]}
    shown = (await member.get(f"/console/operations/{operation.id}")).json()["operation"]
    assert shown["trace"] == TRACE


async def test_every_face_takes_the_trace_of_its_sender_into_its_log(site: Site) -> None:
    kernel = Kernel((), cloud=site.cloud, site=site)
    cloudstack.mount(kernel)
    paths = ("/client/api?command=listZones&response=json", "/nowhere")
    with capture_logs() as lines:
        for path in paths:
            await Client(kernel).get(path, headers=SENT)
            await Client(kernel).get(path, headers={"traceparent": "00-odd"})
    traces = [line["trace"] for line in lines if line["event"] == "request"]
    assert traces[::2] == [TRACE] * len(paths)
    assert all(len(trace) == 32 and trace != TRACE for trace in traces[1::2])


async def test_a_cancellation_s_undo_is_in_the_trace_too(
    member: Person, admin: Person, worker: Worker, site: Site, exporter: Exporter, collector: Collector
) -> None:
    (hypervisor,) = site.hypervisors.values()
    hypervisor.fail("start", ValueError("broken"))  # type: ignore[attr-defined]
    await create(member, admin, SENT)
    await worker.idle()
    async with asyncio.timeout(20):
        await exporter.flush()
    spans = {span["name"]: span for span in collector.spans}
    assert spans["server.deploy start"]["status"] == {"code": 2, "message": "broken"}
    undo = spans["server.deploy undo define"]
    assert spans["simulated undefine"]["parentSpanId"] == undo["spanId"]
