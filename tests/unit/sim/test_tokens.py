"""Tokens and block chains."""

from headgate.sim.tokens import block_chain, chain_root, count, tokenize


def test_tokens_are_four_bytes_rounded_up() -> None:
    assert [count(tokenize(b"x" * size)) for size in (0, 1, 4, 5, 64)] == [0, 1, 1, 2, 16]


def test_a_common_prefix_is_a_common_chain_and_ends_where_texts_differ() -> None:
    root = chain_root("m", None)
    one = block_chain(b"a" * 128 + b"b" * 64, root, 16)
    two = block_chain(b"a" * 128 + b"c" * 64 + b"b" * 64, root, 16)
    assert len(one) == 3
    assert one[:2] == two[:2]
    assert not set(one[2:]) & set(two[2:])


def test_the_same_block_in_another_place_is_another_block() -> None:
    one, two = block_chain(b"a" * 128, chain_root("m", None), 16)
    assert one != two


def test_a_partial_block_has_no_hash() -> None:
    assert len(block_chain(b"a" * 127, 0, 16)) == 1


def test_models_and_adapters_share_nothing() -> None:
    assert len({chain_root("m", None), chain_root("m", "sql"), chain_root("n", None)}) == 3
