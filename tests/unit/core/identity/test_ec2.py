from datetime import UTC, datetime, timedelta

import pytest

from pileus.core.errors import Invalid, Unauthenticated
from pileus.core.identity.authentication import ec2
from pileus.core.identity.authentication.ec2 import Signed

SECRET = "a-secret"
STAMP = {"Action": "Do", "Timestamp": "2030-01-01T00:00:00Z"}
SCOPE = "key/20300101/us-east-1/iam/aws4_request"
HEADERS = {
    "Authorization": f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=content-type;host;x-amz-date, Signature=x",
    "Content-Type": "application/x",
    "Host": "h:8773",
    "X-Amz-Date": "20300101T000000Z",
}
QUERY = {
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": SCOPE,
    "X-Amz-Date": "20300101T000000Z",
    "X-Amz-SignedHeaders": "host",
}
RECORDED = {
    "Kfkatp2suWd+mL0pD57giCNxyXg=": {"params": STAMP | {"SignatureVersion": "0"}},
    "SoB3MHMyd5OTxM7TkTgWdEWMIu4=": {"params": STAMP | {"SignatureVersion": "1", "b": "ä"}},
    "+JhFBGt2Q5mArtaOlLB02dv2EXe6hQGKu1X7HEOTRXM=": {
        "params": STAMP | {"SignatureVersion": "2", "b": "ä /"},
        "verb": "POST",
        "host": "h:8773",
        "path": "/services",
    },
    "09dd5b876e1cc67a4322a471d6b453eea98e9259d4d8f6d4f9df669588f07cd4": {
        "params": {"Action": "Do"},
        "verb": "GET",
        "host": "h:8773",
        "path": "/",
        "headers": HEADERS,
        "body_hash": "e3b0",
    },
    "17e5f139cb8e2225328797a549591b96b821bb52222fbb69a766cd98bd61be5a": {
        "params": QUERY,
        "verb": "GET",
        "host": "h",
        "path": "/",
        "headers": {"Host": "h"},
        "body_hash": "e3b0",
    },
}
"""What Keystone's own client made of the same requests."""
CASES = ["version 0", "version 1", "version 2", "version 4 in the header", "version 4 in the query"]


def signed(**request):
    return Signed(**{"access": "key", "signature": "", **request})


@pytest.mark.parametrize(("signature", "request_"), RECORDED.items(), ids=CASES)
def test_signatures_are_those_of_keystones_client(signature, request_):
    assert ec2.generate(SECRET, signed(**request_)) == signature
    assert ec2.matches(SECRET, signed(**request_, signature=signature))
    assert not ec2.matches("other", signed(**request_, signature=signature))


def test_a_host_may_be_signed_without_its_port():
    request = {"params": STAMP | {"SignatureVersion": "2"}, "verb": "GET", "path": "/"}
    bare = ec2.generate(SECRET, signed(**request, host="h"))
    assert ec2.matches(SECRET, signed(**request, host="h:8773", signature=bare))


BAD = {
    "no version": {},
    "an unknown version": {"params": {"SignatureVersion": "3"}},
    "no credential": {"params": {"X-Amz-Algorithm": "AWS4-HMAC-SHA256"}},
    "another date": {"params": QUERY | {"X-Amz-Date": "20290101T000000Z"}},
}


@pytest.mark.parametrize("request_", BAD.values(), ids=BAD)
def test_a_signature_of_no_form_is_refused(request_):
    with pytest.raises(Invalid):
        ec2.generate(SECRET, signed(**request_))


def test_a_text_of_s3_in_both_forms():
    import base64

    text = f"AWS4-HMAC-SHA256\n20300101T000000Z\n20300101/us-east-1/s3/aws4_request\n{'0' * 64}"
    token = base64.urlsafe_b64encode(text.encode()).decode()
    assert len(ec2.stamp(SECRET, token)) == 64
    assert len(base64.b64decode(ec2.stamp(SECRET, base64.urlsafe_b64encode(b"GET").decode()))) == 20
    wrong = base64.urlsafe_b64encode(text.replace("/s3/", "/ec2/").encode()).decode()
    with pytest.raises(Unauthenticated):
        ec2.stamp(SECRET, wrong)
    with pytest.raises(Invalid):
        ec2.stamp(SECRET, "ä")


def test_a_signature_with_a_time_is_good_for_fifteen_minutes():
    now = datetime(2030, 1, 1, tzinfo=UTC)
    for request in ({"params": STAMP}, {"headers": HEADERS}, {"params": QUERY}):
        assert not ec2.stale(signed(**request), now + timedelta(minutes=15))
        assert ec2.stale(signed(**request), now + timedelta(minutes=16))
    assert not ec2.stale(signed(), now)
    with pytest.raises(Unauthenticated):
        ec2.stale(signed(params={"Timestamp": "yesterday"}), now)
