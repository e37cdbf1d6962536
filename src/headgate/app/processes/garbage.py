"""How often a process looks for garbage in cycles."""

import gc


def set_garbage_collection() -> None:
    """What lives now lives as long as the process; requests and changes leave nothing in cycles, so looking
    for some is seldom worth while (measured: 8 % of the picker's CPU with Python's own thresholds).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
