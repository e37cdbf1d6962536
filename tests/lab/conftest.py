"""These tests run in the lab's network, with Headgate installed: `make lab`."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def in_the_lab() -> None:
    if "HEADGATE_IN_LAB" not in os.environ:
        pytest.skip("they run on a cluster: make lab")
