"""What a feed publishes when its answers come in an awkward order."""

from __future__ import annotations

from collections.abc import Sequence

from nodepool.zk.calls import Answer, Done
from nodepool.zk.feed import Feed
from nodepool.zk.store import Batch, Datum
from nodepool.zk.wire import Request

ROOT = "/nodepool/requests"
PATH = f"{ROOT}/200-0000000001"
OTHER = f"{ROOT}/200-0000000002"


def datum(zxid: int) -> Datum:
    """Data written by a transaction."""
    return Datum(b"%d" % zxid, 0, zxid, zxid, 1.0, 1.0, 0)


class Bench:
    """A feed that is connected and has read an empty root; its reads are answered by hand."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self._sent: list[Done] = []
        self.feed = Feed("", [ROOT], self.batches.append, self._send, lambda _seconds, _action: None)
        self.feed.connected(1)
        for _ in range(2):
            self.answer(None)
        self.answer([datum(1), ()])
        assert self.batches.pop() == Batch(1, {ROOT: datum(1)}, True)

    def _send(self, request: Request, done: Done) -> None:
        del request
        self._sent.append(done)

    def answer(self, value: Sequence[object] | None) -> None:
        """Answer the oldest request."""
        self._sent.pop(0)(Answer(value, 0))


def test_what_is_created_and_changed_is_published() -> None:
    bench = Bench()
    bench.feed.changed(PATH)
    bench.answer([datum(5)])
    assert bench.batches == [Batch(1, {PATH: datum(5)}, False)]
    bench.feed.changed(PATH)
    bench.answer([datum(7)])
    assert bench.batches[1:] == [Batch(1, {PATH: datum(7)}, False)]


def test_what_two_reads_of_one_batch_find_gone_is_published_as_gone() -> None:
    bench = Bench()
    bench.feed.changed(PATH)
    bench.answer([datum(5)])
    bench.feed.changed(PATH)  # A change, whose read finds the znode deleted already ...
    bench.feed.changed(PATH)  # ... and its deletion, of which the event comes before the answer.
    bench.answer([None])
    bench.answer([None])
    assert bench.batches[1:] == [Batch(1, {PATH: None}, False)]


def test_what_came_and_went_unseen_is_published_as_gone() -> None:
    """The subscriber may know it: it may have made it itself."""
    bench = Bench()
    bench.feed.changed(PATH)
    bench.answer([None])
    assert bench.batches == [Batch(1, {PATH: None}, False)]


def test_an_older_answer_does_not_replace_a_newer_one() -> None:
    bench = Bench()
    bench.feed.changed(PATH)
    bench.answer([datum(5)])
    bench.feed.changed(PATH)
    bench.feed.changed(OTHER)
    bench.answer([datum(5)])
    bench.answer([datum(6)])
    assert bench.batches[1:] == [Batch(1, {OTHER: datum(6)}, False)]


def test_what_our_own_transaction_has_overtaken_is_read_again_before_it_is_published() -> None:
    bench = Bench()
    bench.feed.changed(PATH)
    bench.feed.changed(OTHER)
    bench.feed.changed(ROOT)  # Something is dirty while the first answer comes, so that the batch stays open.
    bench.answer([datum(5)])
    bench.feed.changed(PATH)  # Our transaction deletes it: first comes its event, then its outcome.
    bench.feed.overtaken([PATH])
    bench.answer([datum(6), datum(2)])
    bench.answer([None])
    assert [batch.entries.get(PATH) for batch in bench.batches] == [None]
    assert bench.batches[0].entries[OTHER] == datum(6)
