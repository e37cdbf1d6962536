import gc
from collections.abc import Iterator

import pytest

from headgate.app.processes.garbage import set_garbage_collection


@pytest.fixture
def as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("as_it_was")
def test_what_is_there_is_not_looked_at_again_and_the_rest_seldom() -> None:
    kept = [object() for _ in range(3)]
    set_garbage_collection()
    assert all(kept is not each for each in gc.get_objects()), "it is frozen"
    assert gc.get_threshold()[0] > 10_000
