"""What is to be built and uploaded, and when."""

from __future__ import annotations

import dataclasses
from typing import Any

from nodepool.builder import backoff
from nodepool.builder.backoff import BackOff
from nodepool.builder.draft import Here, Rule
from nodepool.builder.plan import plan
from nodepool.builder.reasons import BuildReason, UploadReason
from nodepool.builder.setup import ProviderSetup
from nodepool.builder.steps import Build, ClearRequest, DeleteFiles, Plan, Upload
from nodepool.builder.view import BuildView, ImageView, UploadView
from nodepool.config.settings import DiskImage
from nodepool.driver.image_adapter import ImageSettings, ProviderImage
from nodepool.model.image import ImageBuild, ImageUpload
from nodepool.model.states import BuildState, UploadState

NOW = 1_000_000.0
CLOUD = ProviderSetup("cloud", ImageSettings({"image": ProviderImage("image")}), {"image": "raw"})
RULE = Rule(DiskImage("image", rebuild_age=1000), ("raw",), providers={"cloud": CLOUD})
HERE = Here("ours", {})


def build(build_id: str, state: BuildState, age: float, **more: Any) -> BuildView:
    """A build of ours that came to its state ``age`` seconds ago."""
    uploads = more.pop("uploads", ())
    record = ImageBuild(
        image="image", id=build_id, state=state, state_time=NOW - age, formats=("raw",), builder_id="ours", **more
    )
    return BuildView(build_id, record, created=NOW - age - 10, uploads=uploads)


def upload(build_id: str, state: UploadState, **more: Any) -> UploadView:
    """An upload to the cloud."""
    record = ImageUpload(image="image", build_id=build_id, provider="cloud", id="1", state=state, **more)
    return UploadView(("image", build_id, "cloud", "1"), record)


def failure(retry_in: float) -> dict[str, Any]:
    """What a failed record tells."""
    return backoff.write({}, BackOff(2, NOW + retry_in, "no network"))


def made(*builds: BuildView, rule: Rule = RULE, here: Here = HERE, **image: Any) -> Plan:
    """The plan for these builds."""
    return plan(ImageView("image", builds=builds, **image), rule, here, NOW)


def builds_of(one: Plan) -> list[BuildReason]:
    """Why the image is to be built."""
    return [step.reason for step in one.steps if isinstance(step, Build)]


def test_reasons_to_build() -> None:
    ready = BuildState.READY
    assert builds_of(made()) == [BuildReason.MISSING]
    assert builds_of(made(build("b", ready, 1001))) == [BuildReason.TOO_OLD]
    young = made(build("b", ready, 400, uploads=(upload("b", UploadState.READY),)))
    assert builds_of(young) == []
    assert young.wake == NOW + 600
    more = dataclasses.replace(RULE, formats=("qcow2", "raw"))
    assert builds_of(made(build("b", ready, 1), rule=more)) == [BuildReason.FORMATS]
    assert builds_of(made(build("b", ready, 1))) == [BuildReason.FILES_GONE]


def test_the_image_of_a_builder_that_is_gone_is_built_anew_if_a_provider_lacks_it() -> None:
    def theirs(away: float | None, *uploads: UploadView) -> BuildView:
        one = build("b", BuildState.READY, 1, uploads=uploads)
        assert one.record is not None
        since = None if away is None else NOW - away
        return dataclasses.replace(one, record=one.record.replace(builder_id="theirs"), orphaned_since=since)

    assert builds_of(made(theirs(None))) == []
    waiting = made(theirs(599.0))
    assert (builds_of(waiting), waiting.wake) == ([], NOW + 1)
    assert builds_of(made(theirs(600.0))) == [BuildReason.FILES_GONE]
    assert builds_of(made(theirs(600.0, upload("b", UploadState.READY)))) == []


def test_reasons_not_to_build() -> None:
    paused = dataclasses.replace(RULE, image=DiskImage("image", pause=True))
    assert builds_of(made(rule=paused)) == []
    assert builds_of(made(paused=True)) == []
    assert builds_of(made(locked=True)) == []
    assert builds_of(made(rule=dataclasses.replace(RULE, formats=()))) == []
    assert builds_of(made(rule=dataclasses.replace(RULE, incomplete=True))) == []
    running = dataclasses.replace(HERE, building=frozenset({"b"}))
    assert builds_of(made(here=running)) == []


def test_a_failed_build_waits_and_an_operator_or_a_new_configuration_ends_that() -> None:
    failed = build("b", BuildState.FAILED, 5, extra=failure(100))
    waiting = made(failed)
    assert builds_of(waiting) == []
    assert waiting.wake == NOW + 100
    assert builds_of(made(failed, requested=NOW - 1)) == [BuildReason.BY_HAND]
    assert builds_of(made(failed, requested=NOW - 6)) == []
    changed = dataclasses.replace(RULE, changed=NOW - 1)
    assert builds_of(made(failed, rule=changed)) == [BuildReason.MISSING]
    assert builds_of(made(build("b", BuildState.FAILED, 5, extra=failure(-1)))) == [BuildReason.MISSING]


def test_a_request_is_served_by_a_build_that_began_after_it() -> None:
    good = build("b", BuildState.READY, 20, uploads=(upload("b", UploadState.READY),))
    served = made(good, requested=good.created - 1)
    assert ClearRequest() in served.steps
    assert builds_of(served) == []
    assert builds_of(made(good, requested=good.created + 1)) == [BuildReason.BY_HAND]


def test_only_the_newest_build_is_uploaded_by_who_has_its_file() -> None:
    old, new = build("old", BuildState.READY, 500), build("new", BuildState.READY, 10)
    here = Here("ours", {"old": ("raw",), "new": ("raw",)})
    uploads = [step for step in made(old, new, here=here).steps if isinstance(step, Upload)]
    assert uploads == [Upload("new", "cloud", "raw", UploadReason.MISSING)]
    elsewhere = Here("ours", {"old": ("raw",)})
    assert not [step for step in made(old, new, here=elsewhere).steps if isinstance(step, Upload)]


def test_a_failed_upload_waits() -> None:
    here = Here("ours", {"b": ("raw",)})
    failed = upload("b", UploadState.FAILED, state_time=NOW - 1, extra=failure(50))
    waiting = made(build("b", BuildState.READY, 10, uploads=(failed,)), here=here)
    assert not [step for step in waiting.steps if isinstance(step, Upload)]
    assert waiting.wake == NOW + 50
    again = upload("b", UploadState.FAILED, state_time=NOW - 1, extra=failure(-1))
    steps = made(build("b", BuildState.READY, 10, uploads=(again,)), here=here).steps
    assert Upload("b", "cloud", "raw", UploadReason.AGAIN, 2) in steps


def test_files_go_after_the_upload_if_the_image_says_so() -> None:
    here = Here("ours", {"b": ("raw",)})
    done = build("b", BuildState.READY, 10, uploads=(upload("b", UploadState.READY),))
    going = dataclasses.replace(RULE, image=DiskImage("image", delete_after_upload=True))
    kept = dataclasses.replace(RULE, image=DiskImage("image", delete_after_upload=True, keep_formats=("raw",)))
    for rule, formats in ((going, [("raw",)]), (kept, []), (RULE, [])):
        steps = made(done, rule=rule, here=here).steps
        assert [step.formats for step in steps if isinstance(step, DeleteFiles)] == formats
