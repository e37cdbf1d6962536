"""These tests need another vendor's gateway in the lab: `make istio`."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def with_istio(in_the_lab: None) -> None:
    if "HEADGATE_LAB_ISTIO" not in os.environ:
        pytest.skip("Istio's control plane is not in this lab: make istio builds it and runs them")
