"""What servers that are gone have left in a cloud: found twice, removed by one launcher, never if it has a record."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nodepool.daemon.events import SessionChanged
from nodepool.daemon.instructions import Level, Say
from nodepool.driver.adapter import Leftover
from nodepool.driver.errors import CloudError
from nodepool.launcher.events import LeftoverRemoved, LeftoversFound
from nodepool.launcher.instructions import FindLeftovers, RemoveLeftover
from nodepool.launcher.leftovers import REPEAT_AFTER
from nodepool.launcher.setup import PoolSetup
from nodepool.model import rendezvous
from nodepool.zk import paths
from nodepool.zk.store import Connection, Create, Delete, SessionChange
from tests.unit.launcher.launch_scene import LaunchScene, cloud_of
from tests.unit.launcher.parts import component, pool_settings, pools_of, provider

PORT = Leftover("ports", "p1", 180.0)
OTHER = Leftover("ports", "p2", 180.0)
IMAGE = Leftover("images", "i1", 60.0, ("build1", "0000000001"))
CLOUD = replace(cloud_of(), has_leftovers=True)


@pytest.fixture
def scene() -> LaunchScene:
    """One provider that can be searched."""
    return LaunchScene(CLOUD)


def search(scene: LaunchScene, *leftovers: Leftover, error: CloudError | None = None) -> list[Leftover]:
    """A search a minute later; what is removed for it."""
    scene.wait(60.0)
    asked = len(scene.asked)
    scene.tell(LeftoversFound("cloud", leftovers, error, scene.now))
    return [one.leftover for one in scene.asked[asked:] if isinstance(one, RemoveLeftover)]


def searches(scene: LaunchScene) -> int:
    """How many searches were asked for."""
    return sum(isinstance(one, FindLeftovers) for one in scene.asked)


def stranger(scene: LaunchScene, wins: bool) -> PoolSetup:
    """A pool of another launcher that goes first by rendezvous hashing, or does not."""
    ours = list(scene.core.state.setup.pools)
    for number in range(100):
        (pool,) = pools_of(provider(pool_settings()), launcher=f"them{number}").values()
        if (rendezvous.first("cloud", [*ours, pool.launcher_id]) == pool.launcher_id) is wins:
            return pool
    raise AssertionError("one of a hundred names ought to do")


# Age


def test_nothing_is_removed_at_first_sight_and_only_when_it_is_old_enough(scene: LaunchScene) -> None:
    assert [search(scene, PORT) for _ in range(4)] == [[], [], [], [PORT]]


def test_what_needs_no_age_is_removed_at_the_second_sight(scene: LaunchScene) -> None:
    young = replace(PORT, age=0.0)
    assert [search(scene, young) for _ in range(2)] == [[], [young]]


def test_removal_is_tried_again_with_each_search_that_finds_it(scene: LaunchScene) -> None:
    for _ in range(3):
        search(scene, PORT)
    assert [search(scene, PORT) for _ in range(3)] == [[PORT]] * 3


def test_what_was_of_use_meanwhile_begins_anew(scene: LaunchScene) -> None:
    for _ in range(3):
        search(scene, PORT)
    assert search(scene, OTHER) == []
    assert [search(scene, PORT) for _ in range(4)] == [[], [], [], [PORT]]


def test_each_has_an_age_of_its_own(scene: LaunchScene) -> None:
    search(scene, PORT)
    search(scene, PORT, OTHER)
    search(scene, PORT, OTHER)
    assert search(scene, PORT, OTHER) == [PORT]
    assert search(scene, OTHER) == [OTHER]


def test_things_of_different_kinds_with_one_id_are_told_apart(scene: LaunchScene) -> None:
    address = replace(PORT, kind="floatingips", age=0.0)
    search(scene, PORT)
    assert search(scene, address) == []
    assert search(scene, address) == [address]


# Failed searches


def test_a_search_that_fails_is_told_once_until_one_works(scene: LaunchScene) -> None:
    def told() -> int:
        return sum(isinstance(one, Say) and one.level is Level.WARNING for one in scene.asked)

    for _ in range(3):
        search(scene, error=CloudError("no"))
    assert told() == 1
    search(scene)
    search(scene, error=CloudError("no"))
    assert told() == 2


def test_a_failed_search_neither_ages_nor_forgets(scene: LaunchScene) -> None:
    search(scene, PORT)
    for _ in range(5):
        assert search(scene, error=CloudError("no")) == []
    assert search(scene, PORT) == [PORT]


# What fails is tried again soon


def pauses_until_searches(scene: LaunchScene, seconds: int) -> list[float]:
    """Have each search fail for a while; the pauses between them in seconds."""
    pauses, last = [], scene.now
    for _ in range(seconds):
        before = searches(scene)
        scene.wait(1.0)
        if searches(scene) > before:
            pauses.append(scene.now - last)
            last = scene.now
            scene.tell(LeftoversFound("cloud", (), CloudError("no"), scene.now))
    return pauses


def test_a_search_of_which_something_failed_is_repeated_with_growing_pauses(scene: LaunchScene) -> None:
    scene.tell(LeftoversFound("cloud", (), CloudError("no"), scene.now))
    assert pauses_until_searches(scene, 50) == [2.0, 4.0, 8.0, 16.0]


def test_what_can_never_be_removed_does_not_cost_many_searches(scene: LaunchScene) -> None:
    young = replace(PORT, age=0.0)
    before = searches(scene)
    for _ in range(1800):
        asked = len(scene.asked)
        scene.list_servers()
        for one in scene.asked[asked:]:
            if isinstance(one, FindLeftovers):
                scene.tell(LeftoversFound("cloud", (young,), None, scene.now))
                scene.tell(LeftoverRemoved("cloud", CloudError("no")))
    assert 30 <= searches(scene) - before <= 40


def test_as_long_as_something_is_removed_the_rest_is_looked_for_soon(scene: LaunchScene) -> None:
    for _ in range(5):
        scene.tell(LeftoverRemoved("cloud", CloudError("no")), LeftoverRemoved("cloud", None))
        before = searches(scene)
        scene.wait(REPEAT_AFTER)
        assert searches(scene) == before + 1


def test_what_could_not_be_removed_is_looked_for_soon_and_removed_if_it_is_still_there(scene: LaunchScene) -> None:
    young = replace(PORT, age=0.0)
    assert [search(scene, young) for _ in range(2)] == [[], [young]]
    before = searches(scene)
    for _ in range(3):
        scene.tell(LeftoverRemoved("cloud", CloudError("no")))
    scene.wait(2.0)
    assert searches(scene) - before == 1
    scene.tell(LeftoversFound("cloud", (young,), None, scene.now))
    assert [one.leftover for one in scene.asked[-1:] if isinstance(one, RemoveLeftover)] == [young]


def test_what_was_removed_is_not_looked_for(scene: LaunchScene) -> None:
    before = searches(scene)
    scene.tell(LeftoverRemoved("cloud", None))
    scene.wait(30.0)
    assert searches(scene) == before


def test_a_removal_has_to_begin_within_a_minute(scene: LaunchScene) -> None:
    young = replace(PORT, age=0.0)
    for _ in range(2):
        search(scene, young)
    assert [one.until for one in scene.asked if isinstance(one, RemoveLeftover)] == [scene.now + 60.0]


# Images


def upload_path(leftover: Leftover, provider_name: str = "cloud") -> str:
    """Where the record of an image's upload is."""
    build, upload = leftover.upload or ("", "")
    return paths.upload("image", build, provider_name, upload)


def record_upload(scene: LaunchScene, path: str, data: bytes = b'{"state": "ready"}') -> None:
    """There is a record of an upload."""
    for parent in paths.parents(path):
        if scene.ensemble.read(parent) is None:
            scene.write(Create(parent))
    scene.others(Create(path, data))


@pytest.mark.parametrize("data", [b'{"state": "ready"}', b'{"state": "uploading"}', b'{"state": "deleting"}', b"{"])
def test_an_image_with_a_record_is_never_removed(scene: LaunchScene, data: bytes) -> None:
    record_upload(scene, upload_path(IMAGE), data)
    assert [search(scene, IMAGE) for _ in range(5)] == [[]] * 5


def test_no_image_is_removed_while_zookeeper_knows_of_none_at_all(scene: LaunchScene) -> None:
    assert [search(scene, IMAGE, PORT) for _ in range(5)] == [[], [], [], [PORT], [PORT]]
    record_upload(scene, upload_path(replace(IMAGE, upload=("build2", "0000000001"))))
    assert [search(scene, IMAGE) for _ in range(2)] == [[], [IMAGE]]


def test_an_image_is_removed_when_its_record_has_been_gone_for_long_enough(scene: LaunchScene) -> None:
    record_upload(scene, upload_path(IMAGE))
    for _ in range(3):
        search(scene, IMAGE)
    scene.others(Delete(upload_path(IMAGE)))
    assert [search(scene, IMAGE) for _ in range(2)] == [[], [IMAGE]]


@pytest.mark.parametrize(
    "path",
    [
        upload_path(IMAGE, "another"),
        upload_path(replace(IMAGE, upload=("build2", "0000000001"))),
        upload_path(replace(IMAGE, upload=("build1", "0000000002"))),
    ],
)
def test_the_record_of_another_upload_does_not_keep_it(scene: LaunchScene, path: str) -> None:
    record_upload(scene, path)
    assert [search(scene, IMAGE) for _ in range(2)] == [[], [IMAGE]]


# Whose turn it is


def test_a_search_comes_with_every_search_for_leaked_servers(scene: LaunchScene) -> None:
    before = searches(scene)
    for _ in range(130):
        scene.list_servers()
    assert searches(scene) - before == 2


def test_a_driver_that_cannot_look_is_not_asked() -> None:
    scene = LaunchScene(cloud_of())
    for _ in range(70):
        scene.list_servers()
    assert searches(scene) == 0


@pytest.mark.parametrize("wins", [True, False])
def test_of_several_launchers_one_searches(scene: LaunchScene, wins: bool) -> None:
    scene.put(component(stranger(scene, wins)))
    before = searches(scene)
    for _ in range(130):
        scene.list_servers()
    assert searches(scene) - before == (0 if wins else 2)


def test_a_search_that_ends_when_it_is_the_turn_of_another_removes_nothing(scene: LaunchScene) -> None:
    for _ in range(3):
        search(scene, PORT)
    scene.put(component(stranger(scene, wins=True)))
    assert search(scene, PORT) == []


def test_whoever_gets_the_turn_back_begins_anew(scene: LaunchScene) -> None:
    search(scene, PORT)
    other = component(stranger(scene, wins=True))
    scene.put(other)
    for _ in range(70):
        scene.list_servers()
    scene.others(Delete(f"{paths.components('pool')}/{other.id}"))
    assert [search(scene, PORT) for _ in range(4)] == [[], [], [], [PORT]]


def test_nothing_is_removed_without_a_session_and_nothing_is_remembered(scene: LaunchScene) -> None:
    for _ in range(3):
        search(scene, PORT)
    scene.tell(SessionChanged(SessionChange(Connection.SUSPENDED, scene.session)))
    assert search(scene, PORT) == []
    scene.tell(SessionChanged(SessionChange(Connection.LOST, 0)))
    assert scene.core.state.clouds["cloud"].leftovers == {}


def test_what_is_said_of_a_provider_that_is_gone_harms_nobody(scene: LaunchScene) -> None:
    scene.core.state.setup = replace(scene.core.state.setup, providers={}, pools={})
    assert [search(scene, PORT) for _ in range(2)] == [[], []]
    assert scene.complaints() == []
