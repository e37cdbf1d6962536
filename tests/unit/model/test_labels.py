"""The index finds what a walk over all objects finds."""

from hypothesis import given
from hypothesis import strategies as st

from headgate.model.labels import ByLabels, label_text
from headgate.model.meta import Meta, has_labels
from headgate.model.objects import ModelServer, ModelServerSpec

LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["n", "m"]), LABELS), max_size=8), LABELS)
def test_the_same_as_a_walk_over_all(made: list[tuple[str, dict[str, str]]], wanted: dict[str, str]) -> None:
    servers = [
        ModelServer(
            metadata=Meta(name=f"s{number}", namespace=its, labels=labels), spec=ModelServerSpec("http://a")
        )
        for number, (its, labels) in enumerate(made)
    ]
    index = ByLabels(servers)
    assert index.namespaces == tuple(sorted({its for its, _ in made}))
    for namespace in ("n", "m", "nowhere"):
        here = [each for each in servers if each.namespace == namespace]
        assert index.of(namespace) == here
        assert index.selected(namespace, wanted) == [e for e in here if has_labels(e.metadata.labels, wanted)]


def test_labels_are_written_as_selectors_are() -> None:
    assert label_text({"b": "2", "a": "1"}) == "a=1,b=2"
    assert label_text({}) == "none"
