"""Objects of files with what they name in other files, over time."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

import pytest
from tests import manifests as manifest
from tests.work import counted_steps

from headgate.io.sources.files import Files
from headgate.io.sources.gathered import Gathered
from headgate.io.sources.listing import Listing
from headgate.io.sources.reader import Reader
from headgate.io.sources.reading import Parsed, parse_file
from headgate.model.objects import Secret
from headgate.model.snapshot import Difference, Snapshot


class Texts:
    """Files with objects, as a reader tells of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[Path, tuple[int, int, int, int]] = {}

    def write(self, name: str, *raw: manifest.Manifest) -> None:
        path = manifest.write(self.folder / name, *raw)
        version = self.files.get(path, (0,))[0] + 1
        self.files[path] = (version, 0, path.stat().st_size, 1)

    def listing(self, paths: Iterable[Path]) -> Listing:
        return Listing(dict(sorted(self.files.items())), frozenset({self.folder}))

    def read(self, files: Sequence[tuple[Path, int]]) -> list[tuple[Path, Parsed]]:
        return [(path, parse_file(path)) for path, _ in files]

    def refresh(self, gathered: Gathered) -> Snapshot:
        return gathered.refresh(cast("Reader", self))


def servers(count: int) -> list[manifest.Manifest]:
    return [
        manifest.model_server(f"s{each}", f"10.0.{each >> 8}.{each & 255}:80", "a") for each in range(count)
    ]


def test_fixed_objects_stand_unless_a_file_has_them(tmp_path: Path) -> None:
    texts = Texts(tmp_path)
    (fixed,) = manifest.snapshot(manifest.model_server("one", "10.0.0.1:80", "a")).objects
    gathered = Gathered(Files([tmp_path]), [fixed])
    texts.write("a.yaml", manifest.model_server("one", "10.0.0.2:80", "a"))
    texts.refresh(gathered)
    assert gathered.kept.objects[fixed.identity] != fixed
    texts.write("a.yaml", manifest.model_server("two", "10.0.0.2:80", "a"))
    texts.refresh(gathered)
    assert gathered.kept.objects[fixed.identity] is fixed
    assert sorted(each.name for each in gathered.kept.objects) == ["one", "two"]


def test_a_value_that_changes_in_its_file_is_a_change_of_its_secret(tmp_path: Path) -> None:
    value = tmp_path / "value"
    value.write_text("old")
    raw = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "stringData": {"key": f"file:{value}"},
    }
    texts, gathered = Texts(tmp_path), Gathered(Files([tmp_path]))
    texts.write("a.yaml", raw)
    told = gathered.kept.news(texts.refresh(gathered))
    assert isinstance(told, Snapshot) and isinstance(told.objects[0], Secret)
    assert told.objects[0].string_data == {"key": "old"}
    assert gathered.kept.news(texts.refresh(gathered)) is None
    value.write_text("new")
    news = gathered.kept.news(texts.refresh(gathered))
    assert isinstance(news, Difference)
    (change,) = news.changes
    assert isinstance(change.object, Secret) and change.object.string_data == {"key": "new"}
    texts.write("a.yaml", {**raw, "stringData": {"key": "text"}})
    texts.refresh(gathered)
    (secret,) = gathered.kept.objects.values()
    assert isinstance(secret, Secret) and secret.string_data == {"key": "text"}


@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_a_changed_file_costs_its_objects_however_many_others_there_are(tmp_path: Path, change: str) -> None:
    def steps(count: int) -> int:
        folder = tmp_path / str(count)
        folder.mkdir()
        texts, gathered = Texts(folder), Gathered(Files([folder]))
        texts.write("many.yaml", *servers(count))
        texts.write("one.yaml", manifest.model_server("one", "10.9.0.1:80", "a"))
        gathered.kept.news(texts.refresh(gathered))
        if change == "removed":
            del texts.files[folder / "one.yaml"]
        else:
            name = "one.yaml" if change == "edited" else "two.yaml"
            texts.write(
                name, manifest.model_server("one" if change == "edited" else "two", "10.9.0.2:80", "a")
            )
        reader = _Prepared(texts)
        with counted_steps() as so_far:
            news = gathered.kept.news(gathered.refresh(cast("Reader", reader)))
        assert isinstance(news, Difference) and len(news.changes) == 1
        return so_far()

    assert steps(400) == steps(20) > 0


class _Prepared:
    """As the texts are now, read beforehand."""

    def __init__(self, texts: Texts) -> None:
        self._listing = texts.listing([])
        self._read = {path: parse_file(path) for path in self._listing.files}

    def listing(self, paths: Iterable[Path]) -> Listing:
        return self._listing

    def read(self, files: Sequence[tuple[Path, int]]) -> list[tuple[Path, Parsed]]:
        return [(path, self._read[path]) for path, _ in files]
