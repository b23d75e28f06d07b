"""From a request to what becomes of it: region, service, faults, rate limits, token, handler, counting. Pure.

This is the whole cloud but for sockets and the clock; a test can use it directly.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from urllib.parse import unquote

from tools.cloud import cinder, control, glance, keystone, neutron, nova
from tools.cloud.accounting import NO_ANSWER, Calls
from tools.cloud.exchange import Answer, Call, Request, error
from tools.cloud.faults import CallFault, CallRule
from tools.cloud.reading import BadSettings
from tools.cloud.records import Refused
from tools.cloud.routes import Route, Routes
from tools.cloud.state import Cloud, Region

_NOT_FOUND = Refused(404, "The resource could not be found.")
_NO_TOKEN = Refused(401, "The request you have made requires authentication.")


@dataclass(frozen=True, slots=True)
class Reaction:
    """What to send after ``delay`` seconds; without an answer the connection is reset then."""

    answer: Answer | None
    delay: float = 0.0


class Api:
    """All services of a cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._control = Routes(control.ROUTES)
        self._identity = Routes(keystone.ROUTES)
        self._services = {
            "compute": Routes(nova.ROUTES),
            "network": Routes(neutron.ROUTES),
            "image": Routes(glance.ROUTES),
            "volume": Routes(cinder.ROUTES),
        }

    def react(self, request: Request, now: float) -> Reaction:
        """Carry out a request that arrives at ``now`` (epoch seconds)."""
        self.cloud.advance(now)
        segments = [unquote(segment) for segment in request.path.split("/") if segment]
        place = segments[0] if segments else ""
        if place == "control":
            return self._steer(request, segments[1:])
        if place == "identity":
            return self._serve(request, "identity", self._identity, segments[1:], None)
        region = self.cloud.regions.get(place)
        service = segments[1] if len(segments) > 1 else ""
        if region is None or service not in self._services:
            return Reaction(error("identity", _NOT_FOUND))
        return self._serve(request, service, self._services[service], segments[2:], region)

    def _steer(self, request: Request, segments: list[str]) -> Reaction:
        found = self._control.find(request.method, segments)
        if found is None:
            return Reaction(error("control", _NOT_FOUND))
        try:
            return Reaction(found[0].handler(Call(self.cloud, request, found[1])))
        except Refused as refusal:
            return Reaction(error("control", refusal))
        except BadSettings as problem:
            return Reaction(error("control", Refused(400, str(problem))))

    def _serve(
        self, request: Request, service: str, routes: Routes, segments: list[str], region: Region | None
    ) -> Reaction:
        found = routes.find(request.method, segments)
        calls = region.calls if region else self.cloud.identity_calls
        if found is None:
            calls.add(f"{service}.unknown", 404, 0, self.cloud.now)
            return Reaction(error(service, _NOT_FOUND))
        route, arguments = found
        plan = region.plan if region else self.cloud.identity_plan
        fault = plan.for_call(route.kind, _key(request))
        spread = region.latency(route.kind) if region else self.cloud.settings.identity_latency
        delay = self.cloud.chance.seconds(spread, "latency", route.kind)
        if fault is not None and not fault.fault.takes_effect:
            return self._suffer(calls, route, service, fault, delay)
        answer = self._carry_out(route, service, Call(self.cloud, request, arguments, region))
        if fault is not None and answer.status < 400:
            return self._suffer(calls, route, service, fault, delay)
        calls.add(route.kind, answer.status, len(answer.body), self.cloud.now)
        return Reaction(answer, delay)

    def _carry_out(self, route: Route, service: str, call: Call) -> Answer:
        try:
            if call.located is not None and (refusal := call.region.rates.refusal(route.kind, self.cloud.now)):
                limit, wait = refusal
                headers = {"Retry-After": str(max(1, round(wait)))} if limit.retry_after else {}
                return error(service, Refused(limit.status, "This request was rate-limited."), headers)
            token = call.request.headers.get("x-auth-token", "")
            if not route.open and self.cloud.identity.token(token, self.cloud.now) is None:
                challenge = f'Keystone uri="{self.cloud.url}/identity"'
                return error("identity", _NO_TOKEN, {"WWW-Authenticate": challenge})
            return route.handler(call)
        except Refused as refusal_of_service:
            return error(service, refusal_of_service)

    def _suffer(self, calls: Calls, route: Route, service: str, rule: CallRule, delay: float) -> Reaction:
        now = self.cloud.now
        match rule.fault:
            case CallFault.ERROR_BEFORE | CallFault.ERROR_AFTER:
                calls.add(route.kind, rule.status, 0, now)
                return Reaction(error(service, Refused(rule.status, rule.message)), delay)
            case CallFault.HANG_BEFORE | CallFault.HANG_AFTER:
                calls.add(route.kind, NO_ANSWER, 0, now)
                return Reaction(None, rule.seconds)
            case CallFault.CUT_BEFORE | CallFault.CUT_AFTER:
                calls.add(route.kind, NO_ANSWER, 0, now)
                return Reaction(None, delay)


def _key(request: Request) -> str:
    """What a call is about, for the draw of its fault."""
    return f"{request.path}#{zlib.crc32(request.body)}" if request.body else request.path
