"""Culprits are found by halves, whatever else there is and whatever changes between two tries."""

from hypothesis import given
from hypothesis import strategies as st
from tests import manifests as manifest

from headgate.gateway.quarantine import Quarantine
from headgate.model.change import Change
from headgate.model.meta import Identity, KubeObject


def route(name: str, bad: bool = False) -> KubeObject:
    raw = manifest.route(manifest.rule("fit"), name=name)
    raw["metadata"]["labels"] = {"bad": str(bad).lower()}
    (found,) = manifest.snapshot(raw).objects
    return found


class Envoy:
    """Refuses everything while one bad route is in it."""

    def __init__(self) -> None:
        self.quarantine = Quarantine()
        self.given: dict[Identity, KubeObject] = {}
        self.tries = 0
        self.made_of: frozenset[Identity] = frozenset()

    def apply(self, changes: list[Change]) -> None:
        for each in changes:
            if each.object is None:
                self.given.pop(each.identity, None)
            else:
                self.given[each.identity] = each.object

    def say(self, *objects: KubeObject, gone: tuple[KubeObject, ...] = ()) -> None:
        self.apply(
            self.quarantine.said(
                [Change(each.identity, each) for each in objects]
                + [Change(each.identity, None) for each in gone]
            )
        )

    @property
    def refuses(self) -> bool:
        return any(each.metadata.labels.get("bad") == "true" for each in self.given.values())

    def step(self) -> None:
        self.tries += 1
        self.apply(self.quarantine.refused("no", self.made_of) if self.refuses else self.quarantine.taken())

    def settle(self) -> None:
        self.step()
        while self.quarantine.trying or self.refuses:
            self.step()
            assert self.tries < 1000
        self.step()

    @property
    def named(self) -> list[str]:
        return [str(each.place.object) for each in self.quarantine.problems]


def names(objects: dict[Identity, KubeObject]) -> set[str]:
    return {each.name for each in objects}


def test_one_of_many_is_named_left_out_and_back_when_it_is_mended() -> None:
    envoy = Envoy()
    envoy.say(*(route(f"r{number:04}", bad=number == 777) for number in range(1000)))
    envoy.settle()
    assert envoy.named == ["HTTPRoute default/r0777"]
    assert len(envoy.given) == 999
    assert envoy.tries < 30
    envoy.say(route("r0777"))
    envoy.settle()
    assert not envoy.named and len(envoy.given) == 1000


def test_what_was_served_before_is_served_on() -> None:
    envoy = Envoy()
    good = route("one")
    envoy.say(good, route("two"))
    envoy.settle()
    envoy.say(route("one", bad=True))
    envoy.settle()
    assert envoy.given[good.identity] == good
    assert "served on" in envoy.quarantine.problems[0].message
    envoy.say(gone=(good,))
    envoy.settle()
    assert not envoy.named and names(envoy.given) == {"two"}


def test_objects_that_the_refused_resource_is_not_made_of_are_no_suspects() -> None:
    envoy = Envoy()
    bad = route("r0777", bad=True)
    envoy.made_of = frozenset({bad.identity})
    envoy.say(*(bad if number == 777 else route(f"r{number:04}") for number in range(1000)))
    envoy.settle()
    assert envoy.named == ["HTTPRoute default/r0777"]
    assert envoy.tries < 5


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["good", "bad", "gone"])), max_size=6),
        max_size=8,
    ),
    st.data(),
)
def test_every_culprit_and_nothing_else_is_left_out(
    story: list[list[tuple[int, str]]], data: st.DataObject
) -> None:
    envoy = Envoy()
    said: dict[str, str] = {}
    for some in story:
        for number, form in some:
            found = route(f"r{number}", bad=form == "bad")
            if form == "gone":
                if said.pop(found.name, None) is not None:
                    envoy.say(gone=(found,))
            else:
                said[found.name] = form
                envoy.say(found)
        for _ in range(data.draw(st.integers(0, 4))):
            envoy.step()
    envoy.settle()
    assert set(envoy.named) == {f"HTTPRoute default/{name}" for name, form in said.items() if form == "bad"}
    good = {name for name, form in said.items() if form == "good"}
    assert good <= names(envoy.given) <= set(said)
    assert not envoy.refuses
