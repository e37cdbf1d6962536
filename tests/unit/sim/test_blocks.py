"""The paged KV cache."""

from headgate.sim.blocks import BlockCache


def filled(cache: BlockCache, *blocks: int) -> None:
    """Blocks that were computed and are idle now, the first the oldest."""
    for block in blocks:
        cache.take(1)
        assert cache.publish(block)
        cache.release([block], 0)


def test_idle_blocks_can_be_hit_and_are_not_in_use() -> None:
    cache = BlockCache(4)
    filled(cache, 1, 2)
    assert (cache.usage, cache.available, cache.cached) == (0.0, 4, 2)
    assert cache.match([1, 2, 3], 3) == 2
    assert cache.match([1, 2, 3], 1) == 1
    assert cache.match([3, 1], 2) == 0


def test_the_least_recently_used_goes_first_and_only_when_nothing_is_free() -> None:
    cache = BlockCache(4)
    filled(cache, 1, 2)
    cache.share([1])
    cache.release([1], 0)
    cache.take(2)
    assert cache.evictions == 0
    cache.take(1)
    assert cache.evictions == 1
    assert cache.match([1], 1) == 1
    assert cache.match([2], 1) == 0


def test_shared_blocks_are_not_evicted() -> None:
    cache = BlockCache(2)
    filled(cache, 1)
    cache.share([1])
    assert cache.available == 1
    assert cache.idle_among([1]) == 0
    cache.take(1)
    assert cache.match([1], 1) == 1


def test_a_prefix_is_evicted_from_its_end() -> None:
    cache = BlockCache(3)
    cache.take(3)
    for block in (1, 2, 3):
        cache.publish(block)
    cache.release([1, 2, 3], 0)
    cache.take(1)
    assert cache.match([1, 2, 3], 3) == 2


def test_a_duplicate_stays_private() -> None:
    cache = BlockCache(3)
    cache.take(2)
    assert cache.publish(7)
    assert not cache.publish(7)
    cache.check(private=1)
    cache.release([7], 1)
    cache.check(private=0)


def test_a_block_with_two_users_stays_in_use_until_both_left() -> None:
    cache = BlockCache(2)
    cache.take(1)
    cache.publish(1)
    cache.share([1])
    cache.release([1], 0)
    assert cache.usage == 0.5
    cache.release([1], 0)
    assert cache.usage == 0.0
