"""The resolver of one network, beside its metadata service: names of the network's servers, and the world's names
where the operator says whom to ask. OVN answers what it can before a question gets here; this answers the rest at once,
so that no guest waits for a time-out (RFC 1035; RFC 2308 for empty answers)."""

import asyncio
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import structlog

from pileus.core.network.records import Network, Port
from pileus.store import like, literal
from pileus.workflows import network_specs as specs
from pileus.workflows.network_sync import addressed
from pileus.workflows.site import Site

log = structlog.get_logger()

AT_ONCE = 64
"""Questions in hand; more are dropped, and asked again by their resolvers."""
TTL = 10
PATIENCE = 2.0
VERSIONS = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}

Question = dns.message.QueryMessage


class Resolver(asyncio.DatagramProtocol):
    """Serves the socket of one network."""

    def __init__(self, site: Site, network: UUID) -> None:
        self._site, self._network = site, network
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self._tasks:
            task.cancel()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(self._tasks) >= AT_ONCE:
            return
        task = asyncio.create_task(self._serve(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, data: bytes, asker: tuple[str, int]) -> None:
        try:
            question = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return  # no question that could be answered
        if not isinstance(question, Question) or question.flags & dns.flags.QR or len(question.question) != 1:
            return
        try:
            answer = await self.answer(question)
        except Exception:
            log.exception("resolver failed", network=str(self._network))
            answer = refusal(question, dns.rcode.SERVFAIL)
        if not self._transport.is_closing():
            self._transport.sendto(answer.to_wire(max_size=1232), asker)

    async def answer(self, question: Question) -> dns.message.Message:
        """The network's own names, NXDOMAIN for others under its domain, else what the operator's resolvers say."""
        asked = question.question[0]
        name = asked.name.to_text(omit_final_dot=True).lower()
        async with self._site.cloud.view() as look:
            network = await look.maybe(Network, self._network)
            label = like("dns_name", literal(name.partition(".")[0]))
            servers = await addressed(look, await look.list(Port, label, network=self._network))
        domain = (network.dns_domain if network is not None else "").strip(".").lower() or specs.DOMAIN
        known = specs.names(servers, domain)
        if name in known:
            return found(question, known[name])
        if "." not in name or name == domain or name.endswith(f".{domain}"):
            return refusal(question, dns.rcode.NXDOMAIN)
        return await self._ask(question)

    async def _ask(self, question: Question) -> dns.message.Message:
        for server in self._site.cloud.config.dns_servers:
            try:
                return await dns.asyncquery.udp(question, server, timeout=PATIENCE, ignore_unexpected=True)
            except (dns.exception.DNSException, OSError) as error:
                log.info("resolver.upstream", server=server, error=str(error))
        return refusal(question, dns.rcode.SERVFAIL)


def found(question: Question, addresses: tuple[str, ...]) -> dns.message.Message:
    """The addresses of the family asked for; none is an empty answer, not an error."""
    answer = dns.message.make_response(question, recursion_available=True)
    answer.flags |= dns.flags.AA
    asked = question.question[0]
    version = VERSIONS.get(asked.rdtype)
    fitting = [address for address in addresses if ip_address(address).version == version]
    if fitting and asked.rdclass == dns.rdataclass.IN:
        kind = dns.rdatatype.to_text(asked.rdtype)
        answer.answer.append(dns.rrset.from_text(asked.name, TTL, "IN", kind, *fitting))
    return answer


def refusal(question: Question, code: dns.rcode.Rcode) -> dns.message.Message:
    answer = dns.message.make_response(question, recursion_available=True)
    answer.set_rcode(code)
    return answer
