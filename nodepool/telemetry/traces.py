"""Sends traces by OpenTelemetry's protocol: where the time of a request goes.

Spans are made when what they tell of has ended, in one go, so nothing has to be carried along. The library collects and
sends them in a thread of its own, and drops what the collector does not take. It is an optional extra: this module is
imported only where traces are wanted, and may fail to be.
"""

from __future__ import annotations

import threading

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags, set_span_in_context

from nodepool.telemetry.facts import Fact, Span

END_LIMIT = 1.0
"""Most seconds that the last spans are waited for at the end."""
_NANOSECONDS = 1_000_000_000


class Traces:
    """Sends to where the environment says (``OTEL_*``), from the start: not to be made before the process forks."""

    def __init__(self, daemon: str, host: str, version: str) -> None:
        about = {"service.name": f"nodepool-{daemon}", "service.version": version, "host.name": host}
        self._provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("nodepool", version)

    def take(self, fact: Fact) -> None:
        """Send a span, soon. From any thread; never blocks."""
        if not isinstance(fact, Span):
            return
        began, context = int(fact.began * _NANOSECONDS), _within(fact.parent)
        span = self._tracer.start_span(fact.name, context, attributes=fact.attributes, start_time=began)
        span.set_status(StatusCode.OK if fact.ok else StatusCode.ERROR)
        span.end(int(fact.ended * _NANOSECONDS))

    def stop(self) -> None:
        """Send what waits, as far as there is time, and end."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(END_LIMIT)


def _within(parent: tuple[int, int] | None) -> Context:
    """What a new span belongs to: somebody else's span, or nothing."""
    if parent is None:
        return Context()
    trace_id, span_id = parent
    theirs = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(theirs), Context())
