"""Why an image is as old as it is, and where it is missing. Pure."""

from __future__ import annotations

from nodepool.admin import image_views
from nodepool.admin.explanation import Explanation, Site, duration
from nodepool.admin.table import printable
from nodepool.config.settings import DiskImage
from nodepool.model.component import BUILDER
from nodepool.model.image import ImageBuild, ImageUpload
from nodepool.model.states import BuildState, UploadState
from nodepool.zk import paths


def explain_image(site: Site, image: str) -> Explanation:
    """The explanation of a disk image that is configured or recorded."""
    builds = _builds(site, image)
    running = [build for build in builds if build.state is BuildState.BUILDING]
    ready = [build for build in builds if build.state is BuildState.READY]
    state = "building" if running else "ready" if ready else "missing"
    configured = site.config.diskimages.get(image)
    details = [_running(site, build) for build in running]
    details += _pauses(site, image, configured)
    details += _next_build(site, image, configured, ready)
    details += _put_off(site, image)
    for provider in _providers(site, image):
        details += _uploads(site, image, provider, ready)
    newest = f"its newest build is {duration(site.now - (ready[-1].state_time or site.now))} old" if ready else ""
    summary = f"Image {image}, {state}: {newest or 'there is no build of it that can be used'}"
    return Explanation("image", image, state, printable(summary), [*map(printable, details)])


def _builds(site: Site, image: str) -> list[ImageBuild]:
    """Its builds, the oldest first."""
    found = [(entry.ctime, entry.record) for (name, _), entry in site.mirror.builds.items() if name == image]
    return [record for _, record in sorted(found, key=lambda pair: pair[0]) if record is not None]


def _running(site: Site, build: ImageBuild) -> str:
    log = f"'nodepool image-log {build.image}' shows its log there"
    if site.holder(paths.image_lock(build.image)) is None:
        return (
            f"build {build.id} was begun by {build.builder}, and nobody works on it now: that builder takes it up again"
        )
    return f"build {build.id} runs on {build.builder}{site.since(build.state_time)}; {log}"


def _pauses(site: Site, image: str, configured: DiskImage | None) -> list[str]:
    lines = []
    if configured is None:
        lines.append("it is not in this machine's configuration: if it is in no builder's, it is being removed")
    elif configured.pause:
        lines.append("the configuration pauses it ('pause'): nothing is built")
    if image in site.mirror.paused_images:
        lines.append(f"it is paused by command: nothing is built until 'nodepool image-unpause {image}'")
    if not any(path.startswith(f"{BUILDER}/") for path in site.mirror.components):
        lines.append("no nodepool-builder is running: nothing is built or uploaded")
    return lines


def _next_build(site: Site, image: str, configured: DiskImage | None, ready: list[ImageBuild]) -> list[str]:
    asked = image_views.build_request(site.mirror, image)
    lines = [f"a build was asked for by hand: {asked}"] if asked else []
    if configured is None:
        return lines
    if not ready:
        return [*lines, "it is built as soon as a builder can"]
    left = (ready[-1].state_time or 0.0) + configured.rebuild_age - site.now
    when = f"in {duration(left)}" if left > 0 else f"due {duration(-left)} ago"
    return [*lines, f"the next build by age (rebuild-age): {when}"]


def _put_off(site: Site, image: str) -> list[str]:
    lines = []
    for row in image_views.backoff(site.mirror):
        if row["image"] == image:
            what = f"the upload to {row['provider']}" if row["provider"] else "the build"
            act = f"the removal of {what}" if row["state"] == "deleting" else what
            times = "once" if row["failures"] == 1 else f"{row['failures']} times in a row"
            left = row["retry_at"] - site.now
            when = f"tried again in {duration(left)}" if left > 0 else "about to be tried again"
            lines.append(f"{act} has failed {times}, {when}: {row['reason'] or 'no reason is recorded'}")
    return lines


def _providers(site: Site, image: str) -> list[str]:
    """Providers that list the image, and those that have it."""
    listed = [name for name, entry in site.config.providers.items() if image in entry.image_settings().images]
    having = sorted({provider for name, provider in site.mirror.uploads_to if name == image} - set(listed))
    return listed + having


def _uploads(site: Site, image: str, provider: str, ready: list[ImageBuild]) -> list[str]:
    keys = site.mirror.uploads_to.get((image, provider), ())
    uploads = [record for key in keys if (record := site.mirror.uploads[key].record) is not None]
    good = [upload for upload in uploads if upload.state is UploadState.READY]
    labels = _labels(site, image, provider)
    lines = [f"{provider}: an upload goes on{site.since(one.state_time)}" for one in uploads if _goes_on(one)]
    entry = site.config.providers.get(provider)
    wanted = entry.image_settings().images.get(image) if entry is not None else None
    if wanted is not None and wanted.pause:
        lines.append(f"{provider}: the configuration pauses uploads to it")
    if not good:
        return [f"{provider}: has no upload that can be used, so no node of {labels} can be launched there", *lines]
    newest = max(good, key=lambda upload: upload.state_time or 0.0)
    age = duration(site.now - (newest.state_time or site.now))
    old = "" if not ready or newest.build_id == ready[-1].id else f", of build {newest.build_id}, not of the newest"
    name = newest.external_name or newest.external_id or newest.id
    return [f"{provider}: nodes of {labels} boot from {name}, uploaded {age} ago{old}", *lines]


def _goes_on(upload: ImageUpload) -> bool:
    return upload.state is UploadState.UPLOADING


def _labels(site: Site, image: str, provider: str) -> str:
    entry = site.config.providers.get(provider)
    pools = entry.settings().pools.values() if entry is not None else ()
    names = {name for pool in pools for name, label in pool.labels.items() if label.diskimage == image}
    return f"the label{'s' if len(names) > 1 else ''} {', '.join(sorted(names))}" if names else "no label"
