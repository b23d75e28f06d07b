"""What the web server knows of ZooKeeper, and when the daemon is ready."""

from __future__ import annotations

from collections.abc import Callable

from nodepool.web import live_view
from nodepool.web.live_view import LiveView
from nodepool.zk.store import Batch, Connection, Datum, SessionChange

SESSION = 7
NODE = "/nodepool/nodes/0000000001"
LAUNCHER = "/nodepool/components/launcher/nl1"
CONNECTED = SessionChange(Connection.CONNECTED, SESSION)
SUSPENDED = SessionChange(Connection.SUSPENDED, SESSION)
LOST = SessionChange(Connection.LOST, SESSION)


def datum(text: str = "{}", version: int = 0, owner: int = 0) -> Datum:
    return Datum(text.encode(), version, 1, 1, 0.0, 0.0, owner)


def node(state: str, version: int = 0) -> Datum:
    return datum(f'{{"state": "{state}", "type": ["a"]}}', version)


class Posted:
    """What the web server's thread is asked to do."""

    def __init__(self) -> None:
        self.actions: list[Callable[[], object]] = []
        self.view = LiveView("launcher", self.actions.append)


def state(view: LiveView) -> str | None:
    mirror = view.mirror()
    assert mirror is not None
    known = mirror.node("0000000001")
    return known.state.value if known else None


def test_nothing_is_known_before_all_was_read() -> None:
    view = Posted().view
    view.news(Batch(SESSION, {NODE: node("ready")}, complete=False))
    assert view.mirror() is None


def test_it_follows() -> None:
    view = Posted().view
    view.news(Batch(SESSION, {NODE: node("building")}, complete=True))
    assert state(view) == "building"
    view.news(Batch(SESSION, {NODE: node("ready", 1)}, complete=False))
    view.news(Batch(SESSION, {NODE: node("in-use", 2)}, complete=False))
    assert state(view) == "in-use"
    view.news(Batch(SESSION, {NODE: None}, complete=False))
    assert state(view) is None


def test_what_came_before_a_complete_batch_does_not_count() -> None:
    view = Posted().view
    view.news(Batch(SESSION, {}, complete=True))
    view.news(Batch(SESSION, {NODE: node("ready")}, complete=False))
    view.news(Batch(SESSION, {}, complete=True))
    assert state(view) is None


def test_what_nobody_asks_for_does_not_pile_up() -> None:
    posted = Posted()
    posted.view.news(Batch(SESSION, {}, complete=True))
    for number in range(live_view.MOST_PUT_ASIDE + 5):
        assert len(posted.actions) == (number >= live_view.MOST_PUT_ASIDE)
        posted.view.news(Batch(SESSION, {f"/nodepool/nodes/{number:010}": None}, complete=False))
    posted.actions.pop()()
    posted.view.news(Batch(SESSION, {NODE: None}, complete=False))
    assert posted.actions == []


def test_ready_when_connected_in_step_and_registered() -> None:
    view = Posted().view
    assert view.trouble() == "there is no connection to ZooKeeper"
    view.session_changed(CONNECTED)
    assert view.trouble() == "what ZooKeeper holds is being read"
    view.news(Batch(SESSION, {}, complete=True))
    assert view.trouble() == "the launcher is not registered in ZooKeeper yet"
    view.news(Batch(SESSION, {LAUNCHER: datum(owner=SESSION + 1)}, complete=False))
    assert view.trouble() == "the launcher is not registered in ZooKeeper yet"
    view.news(Batch(SESSION, {f"{LAUNCHER}b": datum(owner=SESSION)}, complete=False))
    assert view.trouble() == ""


def test_not_ready_while_zookeeper_is_away() -> None:
    view = Posted().view
    view.session_changed(CONNECTED)
    view.news(Batch(SESSION, {LAUNCHER: datum(owner=SESSION), NODE: node("ready")}, complete=True))
    assert view.trouble() == ""
    view.session_changed(SUSPENDED)
    assert view.trouble() == "there is no connection to ZooKeeper"
    assert state(view) == "ready"
    view.session_changed(CONNECTED)
    assert view.trouble() == "what ZooKeeper holds is being read"
    view.news(Batch(SESSION, {LAUNCHER: datum(owner=SESSION)}, complete=True))
    assert view.trouble() == ""


def test_not_ready_in_a_new_session_before_the_new_registration() -> None:
    view = Posted().view
    view.session_changed(CONNECTED)
    view.news(Batch(SESSION, {LAUNCHER: datum(owner=SESSION)}, complete=True))
    view.session_changed(LOST)
    view.session_changed(SessionChange(Connection.CONNECTED, SESSION + 1))
    view.news(Batch(SESSION, {LAUNCHER: datum(owner=SESSION)}, complete=True))
    assert view.trouble() == "what ZooKeeper holds is being read"
    view.news(Batch(SESSION + 1, {LAUNCHER: datum(owner=SESSION)}, complete=True))
    assert view.trouble() == "the launcher is not registered in ZooKeeper yet"
