"""The OpenStack driver against a simulated cloud: faults, credentials, images, and clouds that are unlike others."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nodepool.driver.adapter import NODE_TAG, ServerState
from nodepool.driver.errors import (
    BadLabel,
    CloudError,
    Misconfigured,
    NoCapacity,
    NotFound,
    QuotaExceeded,
    RateLimited,
    Rejected,
    Unauthorized,
    UnknownOutcome,
)
from nodepool.driver.image_adapter import ImageOrder
from nodepool.model.resources import Resources
from tests.openstack_bench import DEADLINE, SETTINGS, Bench, an_order, make, upload
from tests.zookeeper import eventually
from tools.certificates import Authority
from tools.cloud.process import CloudProcess

# What goes wrong


@pytest.mark.parametrize("fault", ["error-before", "error-after", "cut-before", "cut-after", "hang-after"])
def test_a_creation_of_unknown_fate_is_settled_by_the_next_list(bench: Bench, fault: str) -> None:
    bench.adapter.list_servers(DEADLINE)
    rule = {"fault": fault, "calls": ["compute.server.create"], "at_most": 1, "seconds": 5}
    bench.control.add_faults(calls=[rule])
    with pytest.raises(UnknownOutcome):
        bench.adapter.create_server(an_order("0000000001"), 1.0)
    tags = [server.tags.get(NODE_TAG) for server in bench.adapter.list_servers(DEADLINE)]
    assert tags == (["0000000001"] if fault.endswith("after") else [])


@pytest.mark.parametrize("fault", ["error-after", "cut-before"])
def test_a_deletion_of_unknown_fate(bench: Bench, fault: str) -> None:
    external_id = bench.create()
    bench.control.add_faults(calls=[{"fault": fault, "calls": ["compute.server.delete"], "at_most": 1}])
    with pytest.raises(UnknownOutcome):
        bench.adapter.delete_server(external_id, DEADLINE)


def test_a_call_ends_at_its_deadline(bench: Bench) -> None:
    bench.control.add_faults(calls=[{"fault": "hang-before", "calls": ["compute.server.list"], "seconds": 30}])
    began = time.monotonic()
    with pytest.raises(CloudError):
        bench.adapter.list_servers(0.5)
    assert time.monotonic() - began < 5.0


@pytest.mark.parametrize(
    ("fault", "kind"), [("error", CloudError), ("no-valid-host", NoCapacity), ("quota", QuotaExceeded)]
)
def test_a_server_that_fails_says_why(bench: Bench, fault: str, kind: type[Exception]) -> None:
    bench.control.add_faults(servers=[{"fault": fault, "at_most": 1}])
    external_id = bench.create()
    eventually(lambda: (found := bench.server(external_id)) is not None and found.state is ServerState.ERROR)
    server = bench.server(external_id)
    assert server is not None
    assert server.fault is kind
    assert server.fault_text


def test_a_full_quota_is_refused_as_such(bench: Bench) -> None:
    bench.control.change(quota={"instances": 1})
    bench.create("0000000001")
    with pytest.raises(QuotaExceeded):
        bench.create("0000000002")


def test_a_limited_rate_is_refused_as_such(bench: Bench) -> None:
    bench.control.change(rate_limits=[{"rate": 0.2, "calls": ["compute.server.create"]}])
    bench.create("0000000001")
    with pytest.raises(RateLimited) as caught:
        bench.create("0000000002")
    assert 1.0 <= caught.value.retry_after <= 6.0
    bench.control.change(rate_limits=[])


def test_a_token_that_ended_is_renewed(bench: Bench) -> None:
    bench.control.revoke_tokens()
    external_id = bench.create()
    assert bench.server(external_id) is not None


def test_our_own_rate_keeps_calls_apart(process: CloudProcess) -> None:
    bench = make(process, rate=0.2)
    bench.adapter.prepare(DEADLINE)
    began = time.monotonic()
    for _ in range(4):
        bench.adapter.list_servers(DEADLINE)
    assert time.monotonic() - began >= 0.6
    assert bench.adapter.poll_interval == 1.0
    bench.adapter.stop()


def test_an_image_that_was_replaced_is_found_again(process: CloudProcess) -> None:
    labels = [
        {"name": "small", "cloud-image": "mine", "min-ram": 1},
        {"name": "other", "cloud-image": "o", "min-ram": 1},
    ]
    images = [{"name": "mine"}, {"name": "o", "image-name": "other"}]
    pools = [{"name": "main", "networks": ["shared"], "labels": labels}]
    bench = make(process, **{"cloud-images": images, "pools": pools})
    bench.adapter._catalogue.drop_age = 0.0
    first = upload(bench, "mine")
    before = bench.create()
    assert bench.server(before) is not None
    bench.adapter.images.delete(first, DEADLINE)
    with pytest.raises(BadLabel, match="the cloud has no image named 'mine'; it has base, other"):
        bench.create()
    with pytest.raises(BadLabel, match="provider 'prov', pool 'main', label 'small': cloud-image 'mine'"):
        bench.adapter.cost("main", "small")
    assert bench.adapter.cost("main", "other")
    second = upload(bench, "mine")
    bench.adapter.limits(DEADLINE)
    with pytest.raises(BadLabel):
        bench.adapter.cost("main", "small")
    bench.adapter._catalogue.look_again = 0.0
    bench.adapter.limits(DEADLINE)
    after = bench.create()
    assert bench.server(after) is not None
    bench.adapter.images.delete(second, DEADLINE)
    for external_id in (before, after):
        bench.adapter.delete_server(external_id, DEADLINE)
    bench.adapter.stop()


def test_a_zone_that_the_cloud_lacks_costs_no_call(bench: Bench) -> None:
    with pytest.raises(NoCapacity, match="no zone 'az9'"):
        bench.create(az="az9")
    assert bench.calls().get("compute.server.create", 0) == 0


# What a cloud does not have


def test_what_nova_refuses_is_told_by_key(process: CloudProcess) -> None:
    labels = [
        {"name": "small", "cloud-image": "base", "min-ram": 1},
        {"name": "outside", "cloud-image": "base", "min-ram": 1, "networks": ["public"]},
        {"name": "disk", "diskimage": "deb", "flavor-name": "m1.large", "networks": ["private"]},
        {"name": "cloudy", "cloud-image": "base", "min-ram": 1, "networks": ["private"], "userdata": "my-own-secret"},
    ]
    bench = make(process, pools=[{"name": "main", "labels": labels}])
    with pytest.raises(BadLabel, match="label 'small': networks: none is named, and the cloud cannot choose one: POST"):
        bench.create(label="small")
    with pytest.raises(BadLabel, match=r"label 'outside': networks \[public\]: .* HTTP 403: It is not allowed"):
        bench.create(label="outside")
    with pytest.raises(Rejected, match=r"diskimage 'deb', whose upload is recorded as 4711: .*HTTP 400: Image 4711"):
        bench.create(label="disk", image_external_id="4711")
    assert bench.adapter.cost("main", "disk"), "the record may be wrong, the label is not"
    text = "Invalid input for field/attribute user_data. Value: my-own-secret. 'my-own-secret' is too long"
    rule = {"fault": "error-before", "calls": ["compute.server.create"], "status": 400, "message": text}
    process.control.add_faults(calls=[rule])
    with pytest.raises(BadLabel, match=r"userdata: POST /servers: HTTP 400: .*user_data$"):
        bench.create(label="cloudy")
    process.control.clear_faults()
    bench.adapter.stop()


def test_no_secret_is_logged_at_any_level(process: CloudProcess, caplog: pytest.LogCaptureFixture) -> None:
    label = {"name": "small", "cloud-image": "base", "min-ram": 1, "networks": ["private"], "userdata": "my-own-secret"}
    with caplog.at_level(logging.DEBUG):
        bench = make(process, pools=[{"name": "main", "labels": [label]}])
        external_id = bench.create()
        bench.adapter.delete_server(external_id, DEADLINE)
        bench.adapter.stop()
    assert "POST" in caplog.text
    for secret in ("my-own-secret", base64.b64encode(b"my-own-secret").decode(), '"secret"'):
        assert secret not in caplog.text


def test_services_that_are_missing_cost_only_what_needs_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with CloudProcess(tmp_path, SETTINGS) as process:
        bench = make(process)
        process.control.change_identity(hidden_services=["compute"])
        with pytest.raises(Misconfigured, match="Keystone's catalogue has no service 'compute'; it has "):
            bench.adapter.prepare(DEADLINE)
        process.control.change_identity(hidden_services=["image", "block-storage"])
        assert bench.adapter.limits(DEADLINE)["instances"] == 1000
        with pytest.raises(BadLabel, match="cloud-image 'base': Keystone's catalogue has no service 'image'"):
            bench.adapter.cost("main", "small")
        assert bench.adapter.cost("main", "disk")
        process.control.change_identity(hidden_services=[])
        bench.adapter._catalogue.look_again = 0.0
        assert bench.adapter.limits(DEADLINE)["volumes"] == 1000
        assert bench.server(bench.create()) is not None
        assert "In service again: provider 'prov', pool 'main', label 'small'" in caplog.text
        bench.adapter.stop()


def test_what_is_known_of_a_cloud_has_to_do_while_it_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with CloudProcess(tmp_path, SETTINGS) as process:
        bench = make(process)
        bench.adapter.prepare(DEADLINE)
        bench.adapter._catalogue.refresh = 0.0
        process.control.add_faults(calls=[{"fault": "error-before", "calls": ["image.*"], "status": 503}])
        for number in range(3):
            assert bench.create(f"{number:010}")
        assert caplog.text.count("What the cloud offers cannot be read anew") == 1
        process.control.clear_faults()
        assert bench.create()
        assert "What the cloud offers can be read again" in caplog.text
        bench.adapter.stop()


def test_a_nova_that_does_not_answer_at_first_is_not_taken_for_an_old_one(tmp_path: Path) -> None:
    with CloudProcess(tmp_path, SETTINGS) as process:
        bench = make(process)
        rule = {"fault": "error-before", "calls": ["compute.version.*"], "status": 503}
        process.control.add_faults(calls=[rule])
        with pytest.raises(CloudError, match=r"GET http.*/compute/v2.1: HTTP 503"):
            bench.adapter.list_servers(DEADLINE)
        process.control.clear_faults()
        server = bench.active(bench.create())
        assert server.resources == Resources(instances=1, cores=1, ram=2048)
        assert bench.adapter._cloud.microversion is not None
        bench.adapter.stop()


# Credentials and clouds.yaml


@pytest.mark.parametrize("cloud", ["simulated-application", "simulated"])
def test_every_kind_of_credentials_of_clouds_yaml(process: CloudProcess, cloud: str) -> None:
    bench = make(process, cloud=cloud)
    assert bench.adapter.limits(DEADLINE)["instances"] > 0
    bench.adapter.stop()


def test_an_unknown_cloud_and_region_are_named(process: CloudProcess) -> None:
    bench = make(process, cloud="nowhere")
    with pytest.raises(Misconfigured, match=r"cloud: .*/clouds.yaml has no cloud 'nowhere'; it has simulated, "):
        bench.adapter.prepare(DEADLINE)
    bench = make(process, **{"region-name": "Mars"})
    with pytest.raises(Misconfigured, match=r"region-name: cloud 'simulated' .* no region 'Mars'; it has RegionOne"):
        bench.adapter.prepare(DEADLINE)


def test_credentials_that_are_put_right_are_used_without_a_restart(process: CloudProcess, tmp_path: Path) -> None:
    bench = make(process, cloud="simulated-wrong")
    os.environ["OS_CLIENT_CONFIG_FILE"] = str(tmp_path / "clouds.yaml")
    good = process.clouds_yaml.read_text()
    (tmp_path / "clouds.yaml").write_text(good)
    for call in (bench.adapter.prepare, bench.adapter.limits, bench.adapter.list_servers):
        with pytest.raises(Unauthorized, match="simulated-wrong"):
            call(DEADLINE)
    (tmp_path / "clouds.yaml").write_text(good.replace("password: wrong", "password: secret"))
    assert bench.adapter.list_servers(DEADLINE) is not None
    bench.adapter.stop()


def test_credentials_that_end_while_running(tmp_path: Path) -> None:
    with CloudProcess(tmp_path, SETTINGS) as process:
        bench = make(process)
        bench.adapter.prepare(DEADLINE)
        process.control.change_identity(password="new")
        process.control.revoke_tokens()
        with pytest.raises(Unauthorized):
            bench.adapter.list_servers(DEADLINE)
        process.clouds_yaml.write_text(process.clouds_yaml.read_text().replace("password: secret", "password: new"))
        assert bench.adapter.list_servers(DEADLINE) == ()
        bench.adapter.stop()


def test_a_keystone_that_fails_leaves_nothing_unknown(tmp_path: Path) -> None:
    with CloudProcess(tmp_path, SETTINGS) as process:
        bench = make(process)
        rule = {"fault": "error-before", "calls": ["identity.token.create"], "status": 503}
        process.control.add_faults(calls=[rule], regions=["identity"])
        with pytest.raises(CloudError) as caught:
            bench.create()
        assert not isinstance(caught.value, UnknownOutcome | Unauthorized)
        process.control.clear_faults()
        assert bench.server(bench.create()) is not None
        bench.adapter.stop()


def test_a_cloud_that_is_down_makes_no_server_and_comes_back(tmp_path: Path) -> None:
    process = CloudProcess(tmp_path, SETTINGS)
    process.start()
    bench = make(process)
    bench.adapter.prepare(DEADLINE)
    process.kill()
    with pytest.raises(CloudError) as caught:
        bench.create()
    assert not isinstance(caught.value, UnknownOutcome)
    process.start()
    eventually(lambda: bench.server(bench.create()) is not None)
    bench.adapter.stop()
    process.stop()


# Images


def test_an_image_is_uploaded_listed_and_deleted(bench: Bench, tmp_path: Path) -> None:
    assert bench.adapter.images.disk_format("deb") == "qcow2"
    (tmp_path / "deb.raw").write_bytes(os.urandom(1 << 16))
    order = ImageOrder("deb-1", str(tmp_path / "deb.raw"), "raw", "build1", "0000000001", {"hw_disk_bus": "virtio"})
    image_id = bench.adapter.images.upload(order, DEADLINE)
    (image,) = bench.adapter.images.find(DEADLINE)
    assert (image.external_id, image.name, image.state) == (image_id, "deb-1", "active")
    assert image.tags == order.tags("prov")
    external_id = bench.create(label="disk", image_external_id=image_id)
    bench.active(external_id)
    bench.adapter.images.delete(image_id, DEADLINE)
    assert bench.adapter.images.find(DEADLINE) == ()
    with pytest.raises(NotFound):
        bench.adapter.images.delete(image_id, DEADLINE)


def test_an_upload_that_fails_leaves_no_image(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "deb.raw").write_bytes(os.urandom(1 << 16))
    order = ImageOrder("deb-1", str(tmp_path / "deb.raw"), "raw", "build1", "0000000001")
    bench.control.add_faults(images=[{"fault": "stuck", "at_most": 1}])
    with pytest.raises(CloudError):
        bench.adapter.images.upload(order, 3.0)
    assert bench.adapter.images.find(DEADLINE) == ()
    missing = replace(order, path=str(tmp_path / "missing"))
    with pytest.raises(CloudError, match="missing"):
        bench.adapter.images.upload(missing, DEADLINE)


def test_an_upload_that_arrives_damaged_is_refused(bench: Bench, tmp_path: Path) -> None:
    content = os.urandom(1 << 16)
    (tmp_path / "deb.raw").write_bytes(content)
    md5 = hashlib.md5(content).hexdigest()
    order = ImageOrder("deb-1", str(tmp_path / "deb.raw"), "raw", "build1", "0000000001", md5=md5)
    bench.control.add_faults(images=[{"fault": "corrupt", "at_most": 1}])
    with pytest.raises(CloudError, match="other data arrived"):
        bench.adapter.images.upload(order, DEADLINE)
    assert bench.adapter.images.find(DEADLINE) == ()
    image_id = bench.adapter.images.upload(order, DEADLINE)
    bench.adapter.images.delete(image_id, DEADLINE)


def test_an_upload_whose_remains_stay_has_an_unknown_outcome(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "deb.raw").write_bytes(os.urandom(1 << 16))
    order = ImageOrder("deb-1", str(tmp_path / "deb.raw"), "raw", "build1", "0000000001")
    bench.control.add_faults(images=[{"fault": "killed", "at_most": 1}])
    bench.control.add_faults(calls=[{"fault": "error-before", "calls": ["image.*delete*"], "status": 503}])
    with pytest.raises(UnknownOutcome, match="cannot be removed"):
        bench.adapter.images.upload(order, DEADLINE)
    bench.control.clear_faults()
    (image,) = bench.adapter.images.find(DEADLINE)
    assert (image.ready, image.is_upload("build1", "0000000001")) == (False, True)
    bench.adapter.images.delete(image.external_id, DEADLINE)


def test_several_threads_use_one_adapter(process: CloudProcess) -> None:
    bench = make(process)
    made: list[str] = []
    threads = [threading.Thread(target=lambda n=n: made.append(bench.create(f"{n:010}"))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert {server.external_id for server in bench.adapter.list_servers(DEADLINE)} >= set(made)
    for external_id in made:
        bench.adapter.delete_server(external_id, DEADLINE)
    bench.adapter.stop()


# Other kinds of clouds


def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    pair = authority.issue("127.0.0.1")
    settings = SETTINGS | {"tls_certificate": str(pair.certificate), "tls_key": str(pair.key)}
    with CloudProcess(tmp_path / "cloud", settings) as process:
        bench = make(process)
        with pytest.raises(Misconfigured, match=r"its certificate is not accepted \(.*\): name .* 'cacert'"):
            bench.adapter.prepare(DEADLINE)
        trusted = process.clouds_yaml.read_text().replace("auth:", f"cacert: {authority.certificate}\n    auth:")
        process.clouds_yaml.write_text(trusted)
        bench.adapter.prepare(DEADLINE)
        bench.adapter.stop()


def test_a_cloud_whose_nova_is_old(tmp_path: Path) -> None:
    networks = [{"name": "only", "cidr": "10.30.0.0/16"}]
    settings = {"region": {"microversion": "2.38", "boot": 0.0, "networks": networks}}
    with CloudProcess(tmp_path, settings) as process:
        pools = [{"name": "main", "labels": [{"name": "small", "cloud-image": "base", "min-ram": 1024}]}]
        bench = make(process, pools=pools)
        server = bench.active(bench.create())
        assert server.resources == Resources(instances=1, cores=1, ram=2048)
        assert server.interface_ip == server.private_ipv4
        bench.adapter.stop()


def test_a_cloud_that_may_choose_the_network(tmp_path: Path) -> None:
    networks = [{"name": "only", "cidr": "10.30.0.0/16", "cidr6": "2001:db8:1::/64"}]
    with CloudProcess(tmp_path, {"region": {"boot": 0.0, "networks": networks}}) as process:
        pools = [{"name": "main", "labels": [{"name": "small", "cloud-image": "base", "min-ram": 1024}]}]
        bench = make(process, pools=pools)
        server = bench.active(bench.create())
        assert server.public_ipv6 is not None
        assert server.public_ipv6.startswith("2001:db8:1:")
        assert bench.adapter.is_finished("main", server)
        bench.adapter.stop()
