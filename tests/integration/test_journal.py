"""The journal of a real server has each change, once, with the session that made it."""

from __future__ import annotations

from pathlib import Path

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError
from kazoo.security import OPEN_ACL_UNSAFE

from tests.journal import Change, Journal, Kind, Transaction
from tests.launcher_process import zookeeper_client
from tests.zookeeper import local_zookeeper, new_place


def changes(client: KazooClient, found: list[Transaction]) -> list[tuple[Change, ...]]:
    """What a client changed."""
    return [one.changes for one in found if one.session == client.client_id[0]]


def test_every_kind_of_change(tmp_path: Path) -> None:
    with local_zookeeper(tmp_path, tick=0.2) as server:
        journal = Journal(server.directory)
        place = new_place(server.hosts)
        with zookeeper_client(place, 60.0) as client:
            journal.news()
            client.create("/p", b"one", acl=OPEN_ACL_UNSAFE)
            client.create("/p/e-", b"two", ephemeral=True, sequence=True)
            client.set("/p", b"three")
            both = client.transaction()
            both.set_data("/p", b"four")
            both.delete("/p/e-0000000000")
            both.commit()
            refused = client.transaction()
            refused.set_data("/p", b"never")
            refused.check("/p", 17)
            assert isinstance(refused.commit()[1], BadVersionError)
            root = place.chroot
            expected: list[tuple[Change, ...]] = [
                (Change(Kind.CREATE, f"{root}/p", b"one"),),
                (Change(Kind.CREATE, f"{root}/p/e-0000000000", b"two", ephemeral=True),),
                (Change(Kind.SET, f"{root}/p", b"three"),),
                (Change(Kind.SET, f"{root}/p", b"four"), Change(Kind.DELETE, f"{root}/p/e-0000000000")),
                (),
            ]
            assert changes(client, journal.news()) == expected
            assert changes(client, journal.news()) == []
            server.kill()
            server.start()
            client.retry(client.delete, "/p")
            session = client.client_id[0]
        last = [one for one in journal.news() if one.session == session]
        assert [one.changes for one in last] == [(Change(Kind.DELETE, f"{root}/p"),), (Change(Kind.CLOSE_SESSION),)]
