"""Names and retention of build logs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodepool.model.build_log import build_of_log, log_name, logs_of, surplus_logs

A, B = "a" * 32, "b" * 32


def test_a_log_is_known_by_its_name() -> None:
    assert build_of_log(log_name("ubuntu-arm", A)) == ("ubuntu-arm", A)
    assert build_of_log("ubuntu-0000000042.log") == ("ubuntu", "0000000042")


def test_other_files_are_no_logs() -> None:
    for name in (f"ubuntu-{A}", f"ubuntu-{A}.log.gz", "ubuntu.log", f"-{A}.log", "ubuntu-abc.log", f"ubuntu{A}.log"):
        assert build_of_log(name) is None, name


def test_logs_of_images_whose_names_begin_alike_are_told_apart() -> None:
    files = {log_name("ubuntu", A): 1.0, log_name("ubuntu-arm", A): 2.0, log_name("ubuntu", B): 3.0}
    assert logs_of("ubuntu", files) == [log_name("ubuntu", B), log_name("ubuntu", A)]
    assert surplus_logs("ubuntu", files, 1) == [log_name("ubuntu", A)]


@given(st.lists(st.floats(0, 10), max_size=12), st.integers(-2, 12))
def test_the_newest_stay(times: list[float], retention: int) -> None:
    files = {log_name("i", f"{number:032x}"): time for number, time in enumerate(times)}
    gone = surplus_logs("i", files, retention)
    if retention < 0:
        assert gone == []
    else:
        assert len(gone) == max(0, len(times) - max(retention, 1))
        left = [files[name] for name in files if name not in gone]
        assert all(files[name] <= time for name in gone for time in left)
