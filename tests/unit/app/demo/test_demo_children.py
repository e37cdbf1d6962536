"""Children that get ready, and children that do not."""

import pytest

from headgate.app.demo.children import ChildError, started


async def test_a_child_that_ends_early_is_reported_with_its_last_words() -> None:
    async with started("fleet", ["--preset", "9b"]) as child:
        with pytest.raises(ChildError, match=r"(?s)headgate fleet ended with exit code 1.*no preset '9b'"):
            await child.message(lambda said: "url" in said)


async def test_messages_come_in_order_and_the_child_ends_with_the_context() -> None:
    options = [
        "--replicas",
        "2",
        "--port-base",
        "0",
        "--control-port",
        "0",
        "--output",
        "json",
        "--drain-s",
        "0",
    ]
    async with started("fleet", options) as child:
        names = [(await child.message(lambda said: "url" in said))["name"] for _ in range(2)]
        control = await child.message(lambda said: "control" in said)
    assert names == ["replica-0", "replica-1"]
    assert str(control["control"]).startswith("http://127.0.0.1:")
    with pytest.raises(ChildError):
        await child.message(lambda said: True)
