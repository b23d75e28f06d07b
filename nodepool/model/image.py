"""The records of image builds and uploads (spec zookeeper 4.3, 4.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nodepool.model.record import Record, epoch, json_field, one_of, text
from nodepool.model.states import BuildState, UploadState, check_transition


def _formats(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list):
        value = ",".join(str(item) for item in value)
    if not isinstance(value, str):
        raise ValueError("formats joined by commas are expected")
    return tuple(sorted(part for part in value.split(",") if part))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBuild(Record):
    """A build of a disk image. ``image`` and ``id`` come from the path."""

    image: str
    id: str
    state: BuildState = json_field("state", one_of(BuildState), BuildState.BUILDING, required=True)
    state_time: float | None = json_field("state_time", epoch, None)
    builder: str | None = json_field("builder", text, None)
    builder_id: str | None = json_field("builder_id", text, None)
    formats: tuple[str, ...] = json_field("formats", _formats, ())
    username: str | None = json_field("username", text, "zuul")
    python_path: str | None = json_field("python_path", text, "/usr/bin/python2")
    shell_type: str | None = json_field("shell_type", text, None)

    def in_state(self, state: BuildState, now: float, **changes: Any) -> ImageBuild:
        """A copy in ``state`` since ``now`` (epoch). Raises :class:`~nodepool.model.states.IllegalTransition`."""
        check_transition(self.state, state)
        return self.replace(state=state, state_time=now, **changes)

    def to_mapping(self) -> dict[str, Any]:
        """The JSON object: formats joined by commas; ``formats``, ``builder`` and ``builder_id`` absent when unset."""
        values = super(ImageBuild, self).to_mapping()
        values["formats"] = ",".join(self.formats)
        for key in ("formats", "builder", "builder_id"):
            if not values[key]:
                del values[key]
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUpload(Record):
    """An upload of a build to a provider. ``image``, ``build_id``, ``provider`` and ``id`` come from the path."""

    image: str
    build_id: str
    provider: str
    id: str
    state: UploadState = json_field("state", one_of(UploadState), UploadState.UPLOADING, required=True)
    state_time: float | None = json_field("state_time", epoch, None)
    external_id: str | None = json_field("external_id", text, None)
    external_name: str | None = json_field("external_name", text, None)
    format: str | None = json_field("format", text, None)
    username: str | None = json_field("username", text, "zuul")
    python_path: str | None = json_field("python_path", text, "/usr/bin/python2")
    shell_type: str | None = json_field("shell_type", text, None)

    def in_state(self, state: UploadState, now: float, **changes: Any) -> ImageUpload:
        """A copy in ``state`` since ``now`` (epoch). Raises :class:`~nodepool.model.states.IllegalTransition`."""
        check_transition(self.state, state)
        return self.replace(state=state, state_time=now, **changes)
