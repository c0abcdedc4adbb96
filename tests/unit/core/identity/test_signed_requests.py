"""Signed requests: each is served once, whichever process and database it comes to, and what they serve at once."""

import asyncio

import pytest
from oauthlib.oauth1 import Client as Signer

from pileus.config import Config
from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.errors import CoreError, Unauthenticated
from pileus.core.identity.authentication.credential_records import RequestToken
from pileus.core.identity.delegation import oauth
from pileus.core.identity.delegation.signed_requests import Signed
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import Domain, Project
from pileus.core.identity.services import catalogue, offers, regions
from pileus.core.identity.services.catalogue import Served
from pileus.store import open_store
from tests import schema

URL = "http://cloud.test/ask"
SERVED = (Served("compute", "nova", "$(public_url)s/compute"),)


@pytest.fixture
async def clouds(database_url, tmp_path):
    """Two processes over one database."""
    await schema.create(database_url)
    config = Config(state=tmp_path)
    stores = [await open_store(database_url) for _ in range(2)]
    try:
        yield [Cloud(config, store) for store in stores]
    finally:
        for store in stores:
            await store.close()


@pytest.fixture
async def project(clouds):
    cloud = clouds[0]
    async with cloud.transaction() as tx:
        await tx.add(Domain(id=ROOT, name="Default", created_at=cloud.now()))
        return await tx.add(Project(id=cloud.new_id(), domain=ROOT, name="p", created_at=cloud.now()))


async def test_of_two_that_are_alike_one_is_served(clouds, project):
    consumer, secret = await oauth.create_consumer(clouds[0], system(), oauth.CreateConsumer())
    _, headers, _ = Signer(consumer.id.hex, client_secret=secret).sign(URL, http_method="POST")
    signed = Signed(method="POST", urls=(URL,), authorization=headers["Authorization"])
    asked = [oauth.ask(cloud, signed, project.id) for cloud in (*clouds, *clouds)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, oauth.Handed) for answer in answers) == 1
    assert all(isinstance(answer, oauth.Handed | Unauthenticated) for answer in answers), answers
    async with clouds[0].view() as look:
        assert await look.count(RequestToken) == 1


async def test_a_request_token_becomes_one_access_token_however_often_it_is_sent_at_once(clouds, project):
    consumer, secret = await oauth.create_consumer(clouds[0], system(), oauth.CreateConsumer())
    signer = Signer(consumer.id.hex, client_secret=secret)
    _, headers, _ = signer.sign(URL, http_method="POST")
    signed = Signed(method="POST", urls=(URL,), authorization=headers["Authorization"])
    handed = await oauth.ask(clouds[0], signed, project.id)
    cloud = clouds[0]
    async with cloud.transaction() as tx:
        held = await tx.get(RequestToken, handed.id)
        hidden = oauth.vault.of(cloud).encrypt("abcdefgh")
        changes = {"user": cloud.new_id(), "roles": (cloud.new_id(),), "verifier": hidden}
        await tx.put(oauth.replace(held, **changes))
    tries = []
    for cloud in (*clouds, *clouds):
        signer = Signer(
            consumer.id.hex,
            client_secret=secret,
            resource_owner_key=handed.id.hex,
            resource_owner_secret=handed.secret,
            verifier="abcdefgh",
        )
        _, headers, _ = signer.sign(URL, http_method="POST")
        sent = Signed(method="POST", urls=(URL,), authorization=headers["Authorization"])
        tries.append(oauth.exchange(cloud, sent))
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(answer, oauth.Handed) for answer in answers) == 1
    assert all(isinstance(answer, oauth.Handed | CoreError) for answer in answers), answers


async def test_what_one_process_changes_of_the_catalogue_every_other_sees(clouds, project):
    await asyncio.gather(*(catalogue.ensure(cloud, SERVED) for cloud in clouds))
    first, second = [await offers.catalogue(cloud) for cloud in clouds]
    assert [offered.service.type for offered in first.everything] == ["compute"]
    assert len(first.everything[0].endpoints) == 3
    assert second == first
    await catalogue.create_service(clouds[0], system(), catalogue.CreateService(type="dns"))
    seen = await offers.catalogue(clouds[1])
    assert [offered.service.type for offered in seen.everything] == ["compute", "dns"]
    await regions.create(clouds[0], system(), regions.CreateRegion(id="north"))
    assert [region.id for region in await regions.list_all(clouds[1])] == ["RegionOne", "north"]
