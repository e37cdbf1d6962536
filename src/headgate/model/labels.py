"""Objects by their labels, for selectors that are looked up many times."""

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from headgate.model.meta import KubeObject, Labels, has_labels

T = TypeVar("T", bound=KubeObject)


class ByLabels(Generic[T]):
    """Objects of one snapshot; a look-up takes time in proportion to what it nearly finds, not to all."""

    def __init__(self, objects: Iterable[T]) -> None:
        self._all: dict[str, list[T]] = {}
        self._pairs: dict[tuple[str, str, str], list[T]] = {}
        for each in objects:
            self._all.setdefault(each.namespace, []).append(each)
            for key, value in each.metadata.labels.items():
                self._pairs.setdefault((each.namespace, key, value), []).append(each)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Those with an object, ordered."""
        return tuple(sorted(self._all))

    def of(self, namespace: str) -> list[T]:
        """All objects there, in order."""
        return self._all.get(namespace, [])

    def selected(self, namespace: str, wanted: Labels) -> list[T]:
        """Those there that have every pair of *wanted*, in order."""
        lists = [self._pairs.get((namespace, key, value), []) for key, value in wanted.items()]
        fewest = min(lists, key=len, default=self.of(namespace))
        return [each for each in fewest if has_labels(each.metadata.labels, wanted)]


def label_text(labels: Mapping[str, str]) -> str:
    """`app=vllm,tier=prod`, as selectors are written; `none` without labels."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "none"
