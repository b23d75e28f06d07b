"""Joining the queue of a lock, and taking back contenders whose fate was in doubt (spec zookeeper 6.1).

Joining is one round trip: the creation of the contender and the list of its rivals are sent one after the other.
A contender has a random prefix, so that it can be found although the answer to its creation was lost: it would hold
the lock, unknown to anybody, until the session ends. Everything but :meth:`Contention.join` runs in the store's thread.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from nodepool.zk.calls import Answer, Done, Reply
from nodepool.zk.contenders import PREFIX_END, ahead_of
from nodepool.zk.store import Contended, ContendOutcome, Create, Delete, Refused, RefusedBy, Uncertain
from nodepool.zk.wire import Request, children_of, committed, refused, transaction

Submit = Callable[[Request, Done, int], None]


@dataclass(slots=True)
class _Attempt:
    directory: str
    prefix: str
    session: int
    done: Callable[[ContendOutcome], None]
    contender: str = ""
    ended: bool = False

    def end(self, outcome: ContendOutcome) -> None:
        if not self.ended:
            self.ended = True
            self.done(outcome)


class Contention:
    """All attempts of one store."""

    def __init__(self, chroot: str, submit: Submit) -> None:
        self._chroot = chroot
        self._submit = submit
        self._doubts: dict[str, _Attempt] = {}
        """Attempts by prefix whose contender may exist though nobody was told so."""

    def join(
        self, directory: str, identifier: bytes, done: Callable[[ContendOutcome], None], session: int
    ) -> Refused | None:
        """Join in ``session``; a refusal is returned, not reported, if the identifier is too long."""
        attempt = _Attempt(directory, uuid.uuid4().hex + PREFIX_END, session, done)
        creation = Create(f"{directory}/{attempt.prefix}", identifier, ephemeral=True, sequence=True)
        request = transaction(self._chroot, [creation])
        if isinstance(request, Refused):
            return request
        self._submit(request, partial(self._created, attempt, creation), session)
        self._submit(children_of(self._chroot + directory), partial(self._listed, attempt), session)
        return None

    def connected(self) -> None:
        """Take back what is in doubt, now that it can be done."""
        for attempt in list(self._doubts.values()):
            self._search(attempt)

    def session_lost(self) -> None:
        """All contenders are gone."""
        self._doubts.clear()

    def _created(self, attempt: _Attempt, creation: Create, reply: Reply) -> None:
        match reply:
            case Answer(value=results, zxid=zxid):
                outcome = committed(self._chroot, [creation], results, zxid)
                if isinstance(outcome, Refused):
                    attempt.end(outcome)
                else:
                    attempt.contender = str(outcome.results[0]).rpartition("/")[2]
            case Uncertain():
                self._doubt(attempt, reply)
            case _:
                attempt.end(refused(reply, 0, creation.path))

    def _listed(self, attempt: _Attempt, reply: Reply) -> None:
        match reply:
            case Uncertain():
                self._doubt(attempt, reply)
            case Answer(value=names) if attempt.contender in names:
                ahead = ahead_of(attempt.contender, names)
                attempt.end(Contended(attempt.directory, attempt.contender, ahead))
            case _:
                attempt.end(Refused(0, RefusedBy.NO_NODE, f"{attempt.directory}: our contender was removed"))

    def _doubt(self, attempt: _Attempt, verdict: Uncertain) -> None:
        if not attempt.ended and verdict is not Uncertain.SESSION_LOST:
            self._doubts[attempt.prefix] = attempt
            if verdict is Uncertain.TIMED_OUT:
                self._search(attempt)
        attempt.end(verdict)

    def _search(self, attempt: _Attempt) -> None:
        request = children_of(self._chroot + attempt.directory)
        self._submit(request, partial(self._found, attempt), attempt.session)

    def _found(self, attempt: _Attempt, reply: Reply) -> None:
        if isinstance(reply, Uncertain):
            self._search_later(attempt, reply)
            return
        names = reply.value if isinstance(reply, Answer) else ()
        ours = [name for name in names if name.startswith(attempt.prefix)]
        if not ours:
            self._doubts.pop(attempt.prefix, None)
            return
        request = transaction(self._chroot, [Delete(f"{attempt.directory}/{name}") for name in ours])
        assert isinstance(request, Request)
        self._submit(request, partial(self._deleted, attempt), attempt.session)

    def _deleted(self, attempt: _Attempt, reply: Reply) -> None:
        if isinstance(reply, Uncertain):
            self._search_later(attempt, reply)
        else:
            self._doubts.pop(attempt.prefix, None)

    def _search_later(self, attempt: _Attempt, verdict: Uncertain) -> None:
        if verdict is Uncertain.SESSION_LOST:
            self._doubts.pop(attempt.prefix, None)
        elif verdict is Uncertain.TIMED_OUT and attempt.prefix in self._doubts:
            self._search(attempt)
