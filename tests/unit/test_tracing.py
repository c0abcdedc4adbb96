"""Trace contexts as they travel, and spans as they are recorded."""

import asyncio
import threading

import pytest

from pileus import tracing
from pileus.tracing import Context, Kind, Span

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"  00-{TRACE}-{SPAN}-01 ", True),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", True),
    ],
)
def test_a_context_is_read(header: str, sampled: bool) -> None:
    assert tracing.parse(header) == Context(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-0x",
        f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01",
    ],
)
def test_what_is_malformed_begins_a_new_trace(header: str) -> None:
    assert tracing.parse(header) is None
    began = tracing.begin(header)
    assert began.trace != TRACE
    assert tracing.parse(str(began)) == began


def test_nothing_is_recorded_without_a_sink_and_the_context_stays() -> None:
    sent = Context(TRACE, SPAN, True)
    with tracing.within(sent), tracing.span("work") as made:
        assert made is None
        assert tracing.traceparent() == f"00-{TRACE}-{SPAN}-01"
    assert tracing.current() is None


def test_what_the_sender_does_not_sample_is_not_recorded() -> None:
    spans: list[Span] = []
    with tracing.within(tracing.begin(f"00-{TRACE}-{SPAN}-00", spans.append)), tracing.span("work"):
        assert tracing.traceparent() == f"00-{TRACE}-{SPAN}-00"
    assert spans == []


def test_spans_are_children_of_what_is_around_them() -> None:
    spans: list[Span] = []
    with tracing.within(tracing.begin(f"00-{TRACE}-{SPAN}-01", spans.append)):
        with tracing.span("outer", Kind.SERVER, {"a": 1}), tracing.span("inner"):
            seen = tracing.current()
        with pytest.raises(ValueError, match="no"), tracing.span("broken"):
            raise ValueError("no")
    inner, outer, broken = spans
    assert (outer.trace, outer.parent, outer.kind, outer.attributes) == (TRACE, SPAN, Kind.SERVER, {"a": 1})
    assert (inner.trace, inner.parent) == (TRACE, outer.id)
    assert seen is not None
    assert seen.span == inner.id
    assert (broken.parent, broken.fault) == (SPAN, "no")
    assert all(span.ended >= span.began for span in spans)


def test_a_new_trace_has_a_root() -> None:
    spans: list[Span] = []
    with tracing.within(tracing.begin("", spans.append)), tracing.span("root"):
        header = tracing.traceparent()
    (root,) = spans
    assert (root.parent, header) == ("", f"00-{root.trace}-{root.id}-01")


async def test_a_driver_s_call_is_a_span_and_its_thread_knows_the_trace() -> None:
    spans: list[Span] = []

    class Link:
        @tracing.calls("platform")
        async def run(self, what: str) -> str:
            seen: list[str] = []
            thread = threading.Thread(target=tracing.carried(lambda: seen.append(tracing.traceparent())))
            thread.start()
            await asyncio.to_thread(thread.join)
            return seen[0]

    link = Link()
    assert await link.run("define guest 1") == ""
    with tracing.within(tracing.begin(f"00-{TRACE}-{SPAN}-01", spans.append)):
        seen = await link.run("define guest 1f0c")
    (made,) = spans
    assert (made.name, made.kind, made.parent) == ("platform define guest", Kind.CLIENT, SPAN)
    assert made.attributes == {"pileus.call": "define guest 1f0c"}
    assert seen == f"00-{TRACE}-{made.id}-01"
