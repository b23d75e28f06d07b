"""Faults of a simulated cloud: each kind does what its name says, for as long as its rule says, from the seed."""

from __future__ import annotations

import pytest

from tests.unit.cloud.desk import START, Desk
from tools.cloud.timeline import iso

SERVERS = "/compute/v2.1/servers"


def _with_servers(*rules: dict[str, object], **region: object) -> Desk:
    return Desk({"faults": {"servers": list(rules)}, **region})


def _with_calls(*rules: dict[str, object]) -> Desk:
    return Desk({"faults": {"calls": list(rules)}})


@pytest.mark.parametrize(
    ("fault", "effect", "status", "delay"),
    [
        ("error-before", False, 503, 0.0),
        ("error-after", True, 503, 0.0),
        ("hang-before", False, None, 90.0),
        ("hang-after", True, None, 90.0),
        ("cut-before", False, None, 0.0),
        ("cut-after", True, None, 0.0),
    ],
)
def test_a_call_fails_before_or_after_it_took_effect(
    fault: str, effect: bool, status: int | None, delay: float
) -> None:
    desk = _with_calls({"calls": ["compute.server.create"], "fault": fault, "status": 503, "seconds": 90, "at_most": 1})
    reaction = desk.react("POST", SERVERS, desk.order())
    assert (reaction.answer.status if reaction.answer else None) == status
    assert reaction.delay == delay
    assert len(desk.listed()) == effect
    desk.create("np2")
    counted = desk.accounting()["calls"]["compute.server.create"]["statuses"]
    assert counted == {"202": 1, str(status or 0): 1}


def test_a_call_that_is_refused_anyway_is_answered() -> None:
    desk = _with_calls({"fault": "hang-after"})
    assert desk.call("POST", SERVERS, desk.order(flavorRef="x")).status == 400


def test_the_draw_of_a_call_depends_on_the_call_not_on_the_order() -> None:
    rule = {"calls": ["compute.server.create"], "fault": "error-before", "chance": 0.3}
    names = [f"np{number}" for number in range(60)]

    def failed(order: list[str]) -> set[str]:
        desk = _with_calls(rule)
        return {name for name in order if desk.call("POST", SERVERS, desk.order(name)).status == 500}

    assert failed(names) == failed(names[::-1])
    assert 8 < len(failed(names)) < 30


def test_a_service_is_down_for_a_while() -> None:
    desk = _with_calls({"calls": ["compute.*"], "fault": "error-before", "status": 503, "starts": 10, "lasts": 600})
    desk.listed()
    desk.move(10)
    assert desk.refusal("GET", f"{SERVERS}/detail")[0] == 503
    assert desk.refusal("GET", "/compute/v2.1/limits")[0] == 503
    desk.ask("GET", "/network/v2.0/networks")
    desk.move(600)
    desk.listed()


def test_rules_come_and_go_by_the_control_api() -> None:
    desk = Desk(regions={"east": {}, "west": {}})
    rule = {"fault": "error-before", "status": 503}
    desk.ask("POST", "/control/faults", {"add": {"calls": [rule]}, "regions": ["east"]})
    assert desk.refusal("GET", f"{SERVERS}/detail")[0] == 503
    assert desk.cloud.regions["west"].plan.for_call("compute.server.list", "x") is None
    desk.ask("POST", "/control/faults", {"clear": True})
    desk.listed()
    assert "unknown key 'chanse'" in desk.refusal("POST", "/control/faults", {"add": {"calls": [{"chanse": 1}]}})[1]
    assert desk.refusal("POST", "/control/faults", {"regions": ["north"]})[0] == 404


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("error", "Build of instance {id} aborted: Failed to allocate the network(s), not rescheduling."),
        ("no-valid-host", "No valid host was found. There are not enough hosts available."),
        ("quota", "Quota exceeded for instances"),
    ],
)
def test_a_build_ends_in_error(fault: str, message: str) -> None:
    desk = _with_servers({"fault": fault, "at_most": 1})
    server_id = desk.create()
    desk.move(5)
    server = desk.show(server_id)
    assert server["status"] == "ERROR"
    assert server["fault"]["message"].startswith(message.replace("{id}", server_id))
    assert desk.accounting()["servers"]["alive"]["instances"] == 1
    assert desk.accounting()["ports"] == 0
    desk.delete(server_id)
    desk.move(2)
    assert not desk.exists(server_id)
    other = desk.create()
    desk.move(5)
    assert desk.show(other)["status"] == "ACTIVE"


def test_there_is_no_capacity_in_one_zone_for_one_flavor() -> None:
    desk = _with_servers({"fault": "no-valid-host", "zones": ["az1"], "flavors": ["m1.l*"]})
    places = [("az1", "m1.large"), ("az2", "m1.large"), ("az1", "m1.tiny")]
    servers = [desk.create(flavor=flavor, availability_zone=zone) for zone, flavor in places]
    desk.move(5)
    assert [desk.show(server_id)["status"] for server_id in servers] == ["ERROR", "ACTIVE", "ACTIVE"]


def test_a_build_hangs_for_ever_or_for_a_while() -> None:
    desk = _with_servers({"fault": "stuck-build", "names": ["np1"]}, {"fault": "stuck-build", "seconds": 100})
    forever, longer = desk.create("np1"), desk.create("np2")
    desk.move(104)
    assert desk.show(longer)["status"] == "BUILD"
    desk.move(1)
    assert desk.show(longer)["status"] == "ACTIVE"
    desk.move(1e6)
    assert desk.show(forever)["status"] == "BUILD"
    desk.delete(forever)
    desk.move(2)
    assert not desk.exists(forever)


def test_a_deletion_hangs_until_it_is_asked_for_again() -> None:
    desk = _with_servers({"fault": "stuck-delete", "times": 2})
    server_id = desk.create()
    desk.move(5)
    for _ in range(2):
        desk.delete(server_id)
        desk.move(1000)
        assert desk.show(server_id)["OS-EXT-STS:task_state"] == "deleting"
    desk.delete(server_id)
    desk.move(2)
    assert not desk.exists(server_id)


def test_a_deletion_ends_in_error_and_then_succeeds() -> None:
    desk = _with_servers({"fault": "failing-delete"})
    server_id = desk.create()
    desk.move(5)
    desk.delete(server_id)
    desk.move(2)
    assert desk.show(server_id)["status"] == "ERROR"
    desk.delete(server_id)
    desk.move(2)
    assert not desk.exists(server_id)


def test_a_slow_deletion_ends_by_itself() -> None:
    desk = _with_servers({"fault": "stuck-delete", "seconds": 60})
    server_id = desk.create()
    desk.delete(server_id)
    desk.delete(server_id)
    desk.move(61)
    assert desk.exists(server_id)
    desk.move(1)
    assert not desk.exists(server_id)


def test_ports_and_volumes_are_left_behind() -> None:
    desk = _with_servers({"fault": "leak-port"}, {"fault": "leak-volume"})
    image = next(iter(desk.region.images.images))
    disk = {"source_type": "image", "destination_type": "volume", "uuid": image, "volume_size": "10"}
    server_id = desk.create(imageRef="", block_device_mapping_v2=[disk | {"delete_on_termination": True}])
    desk.move(5)
    desk.delete(server_id)
    assert desk.accounting()["leftovers"] == {"ports": [], "volumes": [], "floating_ips": [], "images": []}
    desk.move(2)
    leftovers = desk.accounting()["leftovers"]
    assert (len(leftovers["ports"]), len(leftovers["volumes"])) == (1, 1)
    port = desk.ask("GET", f"/network/v2.0/ports?device_id={server_id}")["ports"][0]
    assert (port["status"], port["device_owner"]) == ("DOWN", "compute:nova")
    assert desk.refusal("DELETE", f"/network/v2.0/ports/{port['id']}")[0] == 403
    desk.delete_port(port["id"])
    desk.ask("DELETE", f"/volume/v3/volumes/{leftovers['volumes'][0]}")
    assert desk.accounting()["leftovers"]["ports"] == []
    assert desk.accounting()["leftovers"]["volumes"] == []


def test_addresses_come_late() -> None:
    desk = _with_servers({"fault": "late-address", "seconds": 30})
    server_id = desk.create()
    desk.move(5)
    assert (desk.show(server_id)["status"], desk.show(server_id)["addresses"]) == ("ACTIVE", {})
    desk.move(30)
    assert desk.show(server_id)["addresses"]["private"]
    assert desk.listed(f"?changes-since={iso(START + 30)}")[0]["id"] == server_id


def test_another_server_answers_at_the_address() -> None:
    desk = _with_servers({"fault": "stolen-address", "names": ["np2"]})
    first = desk.create("np1")
    desk.move(5)
    second = desk.create("np2")
    desk.move(5)
    addresses = [desk.show(server_id)["addresses"]["private"][0]["addr"] for server_id in (first, second)]
    assert addresses[0] == addresses[1]


def test_a_server_vanishes_by_itself() -> None:
    desk = _with_servers({"fault": "vanish", "seconds": 30, "names": ["np2"]})
    kept, vanishing = desk.create("np1"), desk.create("np2")
    desk.move(5)
    assert desk.show(vanishing)["status"] == "ACTIVE"
    desk.move(30)
    assert (desk.exists(kept), desk.exists(vanishing)) == (True, False)
    servers = desk.accounting()["servers"]
    assert (servers["alive"]["instances"], servers["vanished"]) == (1, [""])


def test_the_fate_of_a_server_depends_on_its_name_and_the_seed() -> None:
    def fates(seed: int, order: int) -> set[str]:
        desk = Desk({"faults": {"servers": [{"fault": "error", "chance": 0.2}]}}, seed=seed)
        for number in list(range(100))[::order]:
            desk.create(f"np{number}")
        desk.move(5)
        return {server["name"] for server in desk.listed() if server["status"] == "ERROR"}

    assert fates(1, 1) == fates(1, -1)
    assert fates(1, 1) != fates(2, 1)
    assert 8 < len(fates(1, 1)) < 35


def test_a_rate_limit_refuses_and_says_when_to_come_back() -> None:
    limit = {"calls": ["compute.server.create"], "rate": 0.5, "burst": 2, "status": 429}
    desk = Desk({"rate_limits": [limit]})
    desk.create()
    desk.create()
    refused = desk.call("POST", SERVERS, desk.order())
    assert (refused.status, refused.headers["Retry-After"]) == (429, "2")
    desk.listed()
    desk.move(2)
    desk.create()
    desk.ask("POST", "/control/regions/RegionOne", {"rate_limits": [limit | {"status": 413, "retry_after": False}]})
    statuses = [desk.call("POST", SERVERS, desk.order()) for _ in range(3)]
    assert [answer.status for answer in statuses] == [202, 202, 413]
    assert "Retry-After" not in statuses[2].headers


def test_latency_is_by_kind_of_call() -> None:
    desk = Desk({"latency": {"compute.server.create": [1, 3], "compute.*": 0.02}})
    assert desk.react("GET", f"{SERVERS}/detail").delay == 0.02
    delays = {desk.react("POST", SERVERS, desk.order(f"np{number}")).delay for number in range(10)}
    assert len(delays) == 10
    assert all(1 <= delay <= 3 for delay in delays)
    assert desk.react("GET", "/network/v2.0/ports").delay == 0
