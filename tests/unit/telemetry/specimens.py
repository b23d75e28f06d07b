"""One fact of each kind, with every part that a metric may tell of."""

from __future__ import annotations

from nodepool.telemetry.facts import (
    Activity,
    BuilderCensus,
    CallEnded,
    Decided,
    Fact,
    ImageBuilt,
    ImageUploaded,
    LaunchEnded,
    LauncherCensus,
    LeakRemoved,
    QueueSizes,
    RequestDeclined,
    RequestFulfilled,
    SessionHeld,
    Span,
    Use,
)

LAUNCH = LaunchEnded("west", "main", "small", "debian", "az1", "NodePool:min-ready", "ready", 12.5)
BUILD = ImageBuilt("jammy", True, 0, 61.0, 1700000000.5, {"qcow2": 65536, "raw": 131072})
LAUNCHER = LauncherCensus(
    lag=0.002,
    elected=True,
    nodes={("west", ("small", "tiny"), "ready"): 2, ("west", ("small",), "in-use"): 3, (None, (), "failed"): 1},
    labels=("small", "tiny"),
    providers=("east", "west"),
    requests={("requested", "at_pool_limit"): 4, ("pending", ""): 1},
    oldest_request=90.0,
    addressable={("west", "main"): 5},
    max_servers={"west": 10},
    tenant_limits={"acme.example:ci": {"ram": 1024}},
    use=(Use("west", "", "cores", 8, 2, 40), Use("west", "main", "instances", 5, 0, None)),
    answering={"west": True, "east": False},
)
BUILDER = BuilderCensus(
    lag=0.001,
    build_requests={"jammy": True, "noble": False},
    builds={"jammy": Activity.BUILDING, "noble": Activity.PAUSED},
    uploads={("jammy", "west"): Activity.UPLOADING, ("noble", "west"): Activity.IDLE},
    current_builds=1,
    current_uploads=1,
    build_workers=2,
    upload_workers=4,
)
SPECIMENS: tuple[Fact, ...] = (
    SessionHeld(True, 7),
    LAUNCH,
    LAUNCHER,
    BUILD,
    BUILDER,
    ImageUploaded("jammy", "west", True, 30.0),
    ImageUploaded("jammy", "west", False, 3.0),
    RequestFulfilled(0.2),
    RequestDeclined("west", "over_quota"),
    Span("node request", (1 << 100, 7), 1700000000.0, 1700000001.5, True, {"request": "200-1", "labels": ("small",)}),
    LeakRemoved("west", "ports"),
    CallEnded("west", "create", "quota-exceeded", 0.3),
    Decided(0.001),
    QueueSizes("launcher", 3, 1),
)
