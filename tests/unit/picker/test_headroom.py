"""Seats of an engine, learned from its queue."""

from headgate.model.objects.flow import DetectorSpec
from headgate.picker.headroom import Headroom


def seen(*pages: tuple[int, int]) -> Headroom:
    """After scrapes of (running, waiting)."""
    headroom = Headroom()
    for running, waiting in pages:
        headroom.scraped(running, waiting)
    return headroom


def test_an_engine_that_never_queued_has_room_for_everybody() -> None:
    headroom = seen((4, 0), (200, 0))
    assert headroom.seats is None
    assert not headroom.full(1000, 1000)


def test_a_queue_of_one_scrape_says_nothing() -> None:
    assert seen((3, 9), (12, 0)).seats is None
    assert seen((0, 9), (0, 9)).seats is None


def test_a_queue_that_stays_shows_how_many_run_at_once() -> None:
    headroom = seen((4, 2), (4, 3))
    assert headroom.seats == 4
    assert not headroom.full(4, 1)  # one may wait, so that the engine never runs dry
    assert headroom.full(5, 1)
    assert headroom.full(9, 5)


def test_a_tenth_of_many_seats_may_wait() -> None:
    headroom = seen((256, 9), (256, 9))
    assert not headroom.full(281, 26)
    assert headroom.full(282, 26)


def test_while_all_but_a_few_have_begun_there_is_room_whatever_was_seen() -> None:
    assert not seen((4, 2), (4, 3)).full(30, 0)


def test_seats_shrink_slowly_while_it_queues_and_grow_fast_when_it_does_not() -> None:
    headroom = seen((10, 2), (10, 2))
    headroom.scraped(6, 4)
    assert headroom.seats is not None
    assert 6 < headroom.seats < 10
    headroom.scraped(14, 1)
    assert headroom.seats == 14
    sizes = []
    for _ in range(12):
        assert headroom.seats is not None
        headroom.scraped(round(headroom.seats + 0.5), 0)
        sizes.append(headroom.seats)
    assert sizes == sorted(sizes)
    assert sizes[-1] > 100


def test_what_others_have_is_believed_of_one_that_nobody_knows_unless_it_ran_more() -> None:
    for headroom, seats in ((seen(), 4), (seen((9, 0)), 9), (seen((2, 1), (2, 1)), 2)):
        headroom.guess(4)
        assert headroom.seats == seats


def test_a_slow_start_has_a_share_of_the_room() -> None:
    headroom = seen((40, 2), (40, 2))
    assert headroom.full(5, 5, 0.1)
    assert not headroom.full(5, 5, 0.5)


def test_an_idle_engine_keeps_its_seats() -> None:
    assert seen((4, 2), (4, 2), (0, 0)).seats == 4


def test_a_limit_of_requests_counts_in_place_of_seats_and_in_part_during_a_slow_start() -> None:
    headroom = Headroom(DetectorSpec("Concurrency", max_concurrency=10))
    assert not headroom.open
    assert not headroom.full(9, 9)
    assert headroom.full(10, 0)
    assert headroom.full(5, 0, 0.5)


def test_a_reported_queue_or_a_full_cache_counts_until_it_is_too_old() -> None:
    headroom = Headroom(DetectorSpec("Utilization", queue_depth=3, kv_cache=0.5))
    assert not headroom.full(1000, 1000)
    headroom.scraped(4, 3, None)
    assert headroom.full(1, 1)
    headroom.scraped(4, 2, 0.5)
    assert headroom.full(1, 1)
    headroom.scraped(4, 2, 0.4)
    assert not headroom.full(1, 1)
    headroom.scraped(4, 9, 0.9)
    headroom.forget_scrape()
    assert not headroom.full(1, 1)
