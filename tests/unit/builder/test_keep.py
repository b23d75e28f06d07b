"""Keep-last-good: no sequence of failures removes what works."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodepool.builder import cleaning
from nodepool.builder.draft import Draft, Here, Rule
from nodepool.builder.keep import Listing, keep
from nodepool.builder.setup import ProviderSetup
from nodepool.builder.steps import MarkBuild, MarkUpload
from nodepool.builder.view import BuildView, ImageView, UploadView
from nodepool.config.settings import DiskImage
from nodepool.driver.image_adapter import ImageSettings, ProviderImage
from nodepool.model.image import ImageBuild, ImageUpload
from nodepool.model.states import BuildState, UploadState

PROVIDERS = ("cloud", "other", "foreign")
RULE = Rule(
    image=DiskImage("image"),
    formats=("raw",),
    providers={
        name: ProviderSetup(name, ImageSettings({"image": ProviderImage("image")}), {"image": "raw"})
        for name in PROVIDERS[:2]
    },
)
times = st.floats(0.0, 1000.0)


@st.composite
def histories(draw: st.DrawFn) -> tuple[BuildView, ...]:
    """Builds and uploads in whatever states."""
    builds = []
    for number in range(draw(st.integers(0, 6))):
        build_id = f"{number:032x}"
        uploads = tuple(
            _upload(
                build_id, draw(st.sampled_from(PROVIDERS)), f"{index:010}", draw(st.sampled_from(UploadState)), draw
            )
            for index in range(draw(st.integers(0, 4)))
        )
        record = ImageBuild(
            image="image",
            id=build_id,
            state=draw(st.sampled_from(BuildState)),
            state_time=draw(times),
            formats=("raw",),
        )
        builds.append(BuildView(build_id, record, created=draw(times), uploads=uploads, idle_since=draw(times)))
    return tuple(builds)


def _upload(build_id: str, provider: str, upload_id: str, state: UploadState, draw: st.DrawFn) -> UploadView:
    record = ImageUpload(
        image="image", build_id=build_id, provider=provider, id=upload_id, state=state, state_time=draw(times)
    )
    return UploadView(("image", build_id, provider, upload_id), record, idle_since=0.0)


def _good(builds: tuple[BuildView, ...], provider: str) -> list[UploadView]:
    """The uploads that work, the newest first."""
    found = [
        upload
        for build in builds
        if build.state is BuildState.READY
        for upload in build.uploads
        if upload.provider == provider and upload.state is UploadState.READY
    ]
    return sorted(found, key=lambda upload: upload.time, reverse=True)


@given(histories())
def test_the_newest_good_uploads_of_a_wanted_image_are_never_marked(builds: tuple[BuildView, ...]) -> None:
    draft = Draft(ImageView("image", builds=builds), RULE, Here("ours", {}), now=1e6)
    cleaning.remove_records(draft)
    marked = {step.key for step in draft.plan().steps if isinstance(step, MarkUpload)}
    for provider in PROVIDERS[:2]:
        good = _good(builds, provider)
        left = [upload for upload in good if upload.key not in marked]
        assert len(left) >= min(len(good), 2)
        if good:
            assert max(upload.time for upload in left) == good[0].time


@given(histories())
def test_uploads_of_foreign_providers_are_left_alone(builds: tuple[BuildView, ...]) -> None:
    for rule in (RULE, Rule(providers=RULE.providers)):
        draft = Draft(ImageView("image", builds=builds), rule, Here("ours", {}), now=1e6)
        cleaning.remove_records(draft)
        marked = [step.key for step in draft.plan().steps if isinstance(step, MarkUpload)]
        assert not [key for key in marked if key[2] == "foreign"]


@given(histories())
def test_a_build_goes_only_when_it_holds_no_upload(builds: tuple[BuildView, ...]) -> None:
    draft = Draft(ImageView("image", builds=builds), RULE, Here("ours", {}), now=1e6)
    cleaning.remove_records(draft)
    gone = {step.build_id for step in draft.plan().steps if isinstance(step, MarkBuild)}
    for build in builds:
        if build.id in gone:
            assert all(upload.state is UploadState.DELETING for upload in build.uploads)


@given(histories())
def test_two_ready_builds_of_a_wanted_image_are_kept(builds: tuple[BuildView, ...]) -> None:
    ready = sorted((build.time for build in builds if build.state is BuildState.READY), reverse=True)
    kept = keep(builds, True, lambda _: Listing.WANTED).builds
    assert sorted((build.time for build in builds if build.id in kept), reverse=True) == ready[:2]
    assert keep(builds, False, lambda _: Listing.OBSOLETE).builds == frozenset()
