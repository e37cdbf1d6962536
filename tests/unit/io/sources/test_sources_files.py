"""Files → objects; what a bad edit leaves in force."""

import os
import signal
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate.io.sources import reader
from headgate.io.sources.api import read_once
from headgate.io.sources.files import FIRST_WAIT_S, Files
from headgate.io.sources.listing import Listing, list_files
from headgate.io.sources.reader import Reader
from headgate.io.sources.reading import Parsed, parse_file


def server(name: str, port: int = 9000, key: str = "url") -> str:
    return f"apiVersion: headgate.dev/v1alpha1\nkind: ModelServer\nmetadata: {{name: {name}}}\nspec: {{{key}: 'http://127.0.0.1:{port}'}}\n"


def write(path: Path, *documents: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text("---\n".join(documents))
    fresh.rename(path)


READER = Reader()
"""Used by all tests: a worker takes a tenth of a second to start."""


@pytest.fixture(scope="module", autouse=True)
def _reader() -> Iterator[None]:
    yield
    READER.close()


def state(files: Files, by: Reader = READER) -> tuple[dict[str, str], list[str]]:
    before = dict(files.objects)
    changes, problems = files.refresh(by)
    for identity, each in changes.items():
        assert before.get(identity) is not each
        before.pop(identity, None)
        if each is not None:
            before[identity] = each
    assert before == files.objects, "the changes lead to what counts now"
    urls = {each.name: getattr(each, "spec").url[-4:] for each in files.objects.values()}  # noqa: B009
    return urls, [each.reason for each in problems]


def test_a_folder_is_read_in_all_its_depth(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    write(tmp_path / "a.yaml", server("a"))
    write(tmp_path / "deep" / "b.yml", server("b"))
    write(tmp_path / "deep" / "er" / "c.json", '{"apiVersion":"headgate.dev/v1alpha1","kind":"ModelServer",'
          '"metadata":{"name":"c"},"spec":{"url":"http://127.0.0.1:9000"}}')  # fmt: skip
    write(tmp_path / "readme.txt", "no manifest")
    write(tmp_path / ".hidden" / "d.yaml", server("d"))
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    assert state(Files([tmp_path])) == ({"a": "9000", "b": "9000", "c": "9000"}, [])


@pytest.mark.parametrize("border", ["", "---", "--- # next\n---"])
def test_a_lost_border_between_documents_removes_none(tmp_path: Path, border: str) -> None:
    files = Files([tmp_path])
    write(tmp_path / "a.yaml", server("a"), server("b"), server("c"))
    assert state(files)[0] == {"a": "9000", "b": "9000", "c": "9000"}
    (tmp_path / "a.yaml").write_text(f"{server('a')}{border}{server('b')}---\n{server('c', 9001)}")
    served, reasons = state(files)
    assert served == {"a": "9000", "b": "9000", "c": "9001"}
    assert border == "--- # next\n---" or "InvalidValue" in reasons


def test_a_lost_dash_between_items_of_a_list_removes_none(tmp_path: Path) -> None:
    items = [f"- {server(name)}".replace("\n", "\n  ").rstrip(" ") for name in ("a", "b")]
    write(tmp_path / "a.yaml", "apiVersion: v1\nkind: List\nitems:\n" + "".join(items))
    files = Files([tmp_path])
    assert state(files) == ({"a": "9000", "b": "9000"}, [])
    write(tmp_path / "a.yaml", "apiVersion: v1\nkind: List\nitems:\n" + items[0] + "  " + items[1][2:])
    assert state(files) == ({"a": "9000", "b": "9000"}, ["InvalidValue"])


@pytest.mark.parametrize("name", ["A", "a b", "a/b", '"a\\n"', "a_b", "-a", "{name: a, namespace: x/y}"])
def test_a_name_that_no_object_may_have_removes_none(tmp_path: Path, name: str) -> None:
    files = Files([tmp_path])
    write(tmp_path / "a.yaml", server("a"))
    assert state(files) == ({"a": "9000"}, [])
    write(tmp_path / "a.yaml", server("a").replace("{name: a}", name if "{" in name else f"{{name: {name}}}"))
    assert state(files) == ({"a": "9000"}, ["InvalidValue"])


def test_a_file_that_is_cut_off_within_an_object_loses_none(tmp_path: Path) -> None:
    files = Files([tmp_path])
    text = "---\n".join(map(server, ("a", "b", "c")))
    path = tmp_path / "a.yaml"
    path.write_text(text)
    whole = {"a": "9000", "b": "9000", "c": "9000"}
    assert state(files)[0] == whole
    for end in range(text.index("name: b") + 1, text.index("url", text.index("name: b"))):
        path.write_text(text[:end])
        assert state(files)[0] == whole, text[:end][-40:]
    assert "CutOff" in state(files)[1]
    path.write_text(server("a"))
    assert state(files) == ({"a": "9000"}, [])


def test_a_named_file_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    write(tmp_path / "manifest", server("a"))
    assert state(Files([tmp_path / "manifest"])) == ({"a": "9000"}, [])


def test_an_invalid_object_keeps_its_last_good_version(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    files = Files([path])
    write(path, server("a"), server("b"))
    assert state(files) == ({"a": "9000", "b": "9000"}, [])
    write(path, server("a", 9001, key="uri"), server("b", 9001))
    objects, reasons = state(files)
    assert objects == {"a": "9000", "b": "9001"}
    assert "InvalidValue" in reasons
    _, problems = files.refresh(READER)
    wrong = next(each for each in problems if each.severity == "error")
    assert wrong.place.object == "ModelServer default/a"
    assert (wrong.place.file, wrong.place.line) == (str(path), 4)
    assert wrong.message.endswith("its last good version stays in force")
    write(path, server("a", 9002), server("b", 9002))
    assert state(files) == ({"a": "9002", "b": "9002"}, [])


def test_an_object_that_never_was_good_is_missing_and_reported(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", server("a", key="uri"), server("b"))
    objects, reasons = state(Files([tmp_path]))
    assert objects == {"b": "9000"}
    assert "InvalidValue" in reasons


def test_an_invalid_object_may_move_to_another_file_and_stays(tmp_path: Path) -> None:
    files = Files([tmp_path])
    write(tmp_path / "a.yaml", server("a"))
    state(files)
    (tmp_path / "a.yaml").unlink()
    write(tmp_path / "b.yaml", server("a", key="uri"))
    assert state(files)[0] == {"a": "9000"}


def test_a_text_that_no_longer_parses_keeps_what_the_file_had(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    files = Files([path])
    write(path, server("a"), server("b"))
    state(files)
    write(path, "kind: [\n", server("b", 9001))
    assert state(files) == ({"a": "9000", "b": "9001"}, ["InvalidYAML"])
    write(path, "kind: [\n")
    assert state(files) == ({"a": "9000", "b": "9001"}, ["InvalidYAML"])
    write(path, server("b", 9002))
    assert state(files) == ({"b": "9002"}, [])


FOREIGN = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: other}\n"


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        ("kind: ModelServer", "kind: ModelSever", "UnknownKind"),
        ("kind: ModelServer", "kidn: ModelServer", "InvalidValue"),
        ("kind: ModelServer", "kind: [ModelServer]", "InvalidValue"),
        ("name: a", "nmae: a", "InvalidValue"),
        ("name: a", "", "InvalidValue"),
        ("headgate.dev/v1alpha1", "headgate.dev/v1", "UnknownVersion"),
        ("headgate.dev/v1alpha1", "headgate.dev", "UnknownVersion"),
        ("headgate.dev/v1alpha1", "headgte.dev/v1alpha1", "UnknownGroup"),
        ("headgate.dev/v1alpha1", "v1", "UnknownGroup"),
        ("apiVersion: ", "apiversion: ", "InvalidValue"),
    ],
)
def test_a_typing_error_in_what_an_object_is_removes_nothing(
    tmp_path: Path, right: str, wrong: str, reason: str
) -> None:
    path = tmp_path / "a.yaml"
    files = Files([path])
    write(path, server("a"), server("b"), FOREIGN)
    assert state(files) == ({"a": "9000", "b": "9000"}, [])
    write(path, server("a").replace(right, wrong), server("b", 9001), FOREIGN)
    _, problems = files.refresh(READER)
    assert sorted(each.name for each in files.objects.values()) == ["a", "b"]
    (problem,) = (each for each in problems if each.severity == "error")
    assert (problem.reason, problem.place.file) == (reason, str(path))
    assert problem.message.endswith("; what was read from it before stays in force")
    write(path, server("b", 9001), FOREIGN)
    assert state(files) == ({"b": "9001"}, [])


EDITED = st.sampled_from(["apiVersion: headgate.dev/v1alpha1", "kind: ModelServer", "metadata: {name: a}"])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EDITED, st.data())
def test_no_slip_of_one_letter_removes_an_object(tmp_path: Path, line: str, data: st.DataObject) -> None:
    end = line.index("a}") if "name" in line else len(line)  # another name is another object
    at = data.draw(st.integers(0, end - 1))
    letter = data.draw(st.sampled_from(["", *"aZ1/.-: \t\"'#[{]}&*!|>%@`,?"]))
    path = tmp_path / "a.yaml"
    files = Files([path])
    write(path, server("a"), server("b"))
    assert set(state(files)[0]) == {"a", "b"}
    for edited in (line[:at] + letter + line[at + 1 :], line[:at] + letter + line[at:]):
        write(path, server("a").replace(line, edited), server("b"))
        objects, reasons = state(files)
        assert {"a", "b"} <= objects.keys() or ("name" in line and len(objects) == 2), (edited, reasons)


def test_an_unknown_kind_of_others_keeps_nothing(tmp_path: Path) -> None:
    files = Files([tmp_path])
    write(tmp_path / "a.yaml", server("a"), server("b"))
    state(files)
    write(tmp_path / "a.yaml", server("b"), FOREIGN, FOREIGN.replace("apps/v1", "example.com/v1"))
    assert state(files) == ({"b": "9000"}, [])


def test_a_deleted_object_and_a_deleted_file_are_gone(tmp_path: Path) -> None:
    files = Files([tmp_path])
    write(tmp_path / "a.yaml", server("a"), server("b"))
    write(tmp_path / "c.yaml", server("c"))
    assert set(state(files)[0]) == {"a", "b", "c"}
    write(tmp_path / "a.yaml", server("b"))
    (tmp_path / "c.yaml").unlink()
    assert state(files) == ({"b": "9000"}, [])


def test_duplicates_the_first_by_path_wins(tmp_path: Path) -> None:
    write(tmp_path / "b.yaml", server("a", 9002))
    write(tmp_path / "a.yaml", server("a", 9001), server("a", 9003))
    files = Files([tmp_path])
    assert state(files) == ({"a": "9001"}, ["Duplicate", "Duplicate"])
    _, problems = files.refresh(READER)
    assert {(Path(each.place.file).name, each.place.line) for each in problems} == {
        ("a.yaml", 6),
        ("b.yaml", 1),
    }
    assert all(f"{tmp_path / 'a.yaml'}:1" in each.message for each in problems)
    (tmp_path / "a.yaml").unlink()
    assert state(files) == ({"a": "9002"}, [])


def test_a_missing_path_is_a_problem_until_it_comes(tmp_path: Path) -> None:
    files = Files([tmp_path / "later" / "a.yaml"])
    assert state(files) == ({}, ["NotFound"])
    assert tmp_path in files.folders
    (tmp_path / "later").mkdir()
    write(tmp_path / "later" / "a.yaml", server("a"))
    assert state(files) == ({"a": "9000"}, [])


def test_a_config_map_swap(tmp_path: Path) -> None:
    for version, port in (("..v1", 9001), ("..v2", 9002)):
        (tmp_path / version).mkdir()
        write(tmp_path / version / "a.yaml", server("a", port))
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    files = Files([tmp_path])
    assert state(files) == ({"a": "9001"}, [])
    (tmp_path / "..new").symlink_to("..v2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert state(files) == ({"a": "9002"}, [])


def test_the_target_of_a_link_is_watched(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write(tmp_path / "real" / "a.yaml", server("a"))
    (tmp_path / "link.yaml").symlink_to("real/a.yaml")
    assert list_files([tmp_path / "link.yaml"]).folders == {tmp_path, tmp_path / "real"}


class Noting(Reader):
    """A reader that remembers what it was asked to read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def read(self, files: Sequence[tuple[Path, int]]) -> Sequence[tuple[Path, Parsed]]:
        self.asked += (path.name for path, _ in files)
        return super().read(files)


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", server("a"))
    write(tmp_path / "b.yaml", server("b"))
    files = Files([tmp_path])
    with Noting() as noting:
        state(files, noting)
        noting.asked.clear()
        state(files, noting)
        assert noting.asked == []
        write(tmp_path / "b.yaml", server("b", 9001))
        assert state(files, noting)[0] == {"a": "9000", "b": "9001"}
        assert noting.asked == ["b.yaml"]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything, so this process gives up root for a moment when it has it."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)


class Here(Reader):
    """Reads in this process: what the tests may do as another user."""

    def listing(self, paths: Sequence[Path]) -> Listing:
        return list_files(paths)

    def read(self, files: Sequence[tuple[Path, int]]) -> Sequence[tuple[Path, Parsed]]:
        return [(path, parse_file(path)) for path, _ in files]


@pytest.mark.parametrize("locked", ["a.yaml", "deep", "."])
def test_what_may_not_be_read_is_not_gone(locked: str) -> None:
    with tempfile.TemporaryDirectory() as temporary, Here() as here:
        folder = Path(temporary)
        folder.chmod(0o755)
        (folder / "deep").mkdir()
        (folder / "deep").chmod(0o755)
        for path in (folder / "a.yaml", folder / "deep" / "b.yaml"):
            write(path, server(path.stem))
        files, late = Files([folder]), Files([folder])
        mode = (folder / locked).stat().st_mode
        state(Files([folder]), here)  # what Python imports for it may be root's alone
        with as_nobody():
            assert state(files, here) == ({"a": "9000", "b": "9000"}, [])
        (folder / locked).chmod(0)
        try:
            with as_nobody():
                for _ in range(2):
                    assert state(files, here) == ({"a": "9000", "b": "9000"}, ["Unreadable"])
                (problem,) = files.refresh(here)[1]
                assert problem.place.file == str(folder / locked)
                assert problem.message.endswith("what was read from it before stays in force")
                assert state(late, here)[1] == ["Unreadable"]
        finally:
            (folder / locked).chmod(mode)
        (folder / "deep" / "b.yaml").unlink()
        with as_nobody():
            assert state(files, here) == state(late, here) == ({"a": "9000"}, [])


@pytest.mark.parametrize("name", ["a.yaml", "deep"])
def test_what_a_file_system_does_not_tell_is_not_gone(tmp_path: Path, name: str) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path / "a.yaml", server("a"))
    write(tmp_path / "deep" / "b.yaml", server("b"))
    files = Files([tmp_path])
    assert state(files)[1] == []
    away = (tmp_path / name).rename(tmp_path.with_name(f"{tmp_path.name}-{name}"))
    (tmp_path / name).symlink_to(name)  # stat fails: too many links
    assert state(files) == ({"a": "9000", "b": "9000"}, ["Unreadable"])
    (tmp_path / name).unlink()
    away.rename(tmp_path / name)
    assert state(files) == ({"a": "9000", "b": "9000"}, [])


def test_read_once_resolves_hosts(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", server("a").replace("127.0.0.1", "localhost"))
    write(tmp_path / "b.yaml", server("b").replace("127.0.0.1", "nowhere.invalid"))
    snapshot = read_once([tmp_path])
    assert [each.name for each in snapshot.objects] == ["a", "b"]
    assert set(snapshot.addresses) == {"localhost"}
    assert snapshot.addresses["localhost"] in {("127.0.0.1",), ("::1",)}


def test_one_bad_entry_does_not_end_the_walk(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("a.yaml")
    write(tmp_path / "c.yaml", server("c"))
    objects, reasons = state(Files([tmp_path]))
    assert objects == {"c": "9000"}
    assert reasons == ["Unreadable"]


def test_a_link_to_nowhere_keeps_what_was_read_through_it(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").mkdir()
    target = tmp_path / "elsewhere" / "a.yaml"
    write(target, server("a"))
    (tmp_path / "folder" / "a.yaml").symlink_to(target)
    files = Files([tmp_path / "folder"])
    assert state(files) == ({"a": "9000"}, [])
    target.unlink()
    assert state(files) == ({"a": "9000"}, ["NotFound"])
    (problem,) = files.refresh(READER)[1]
    assert problem.message == "links to nothing; what was read from it before stays in force"
    write(target, server("a", 9001))
    assert state(files) == ({"a": "9001"}, [])
    target.unlink()
    (tmp_path / "folder" / "a.yaml").unlink()
    assert state(files) == ({}, [])


@pytest.mark.parametrize("what", ["fifo", "socket", "device", "folder"])
def test_only_regular_files_are_read(tmp_path: Path, what: str) -> None:
    write(tmp_path / "a.yaml", server("a"))
    write(tmp_path / "b.yaml", server("b"))
    files = Files([tmp_path])
    assert state(files)[1] == []
    (tmp_path / "a.yaml").unlink()
    with closing(socket.socket(socket.AF_UNIX)) as local:
        match what:
            case "fifo":
                os.mkfifo(tmp_path / "a.yaml")
            case "socket":
                local.bind(str(tmp_path / "a.yaml"))
            case "device":
                (tmp_path / "a.yaml").symlink_to("/dev/zero")
            case _:
                (tmp_path / "a.yaml").mkdir()
        write(tmp_path / "b.yaml", server("b", 9001))
        expected: dict[str, str] = {"b": "9001"} if what == "folder" else {"a": "9000", "b": "9001"}
        for _ in range(2):
            assert state(files) == (expected, [] if what == "folder" else ["NotAFile"])
    if what == "folder":
        return
    (problem,) = files.refresh(READER)[1]
    assert problem.place.file == str(tmp_path / "a.yaml")
    assert problem.message.endswith(
        "only regular files are read; what was read from it before stays in force"
    )
    (problem,) = Files([tmp_path]).refresh(READER)[1]
    assert problem.message.endswith("only regular files are read")
    (tmp_path / "a.yaml").unlink()
    assert state(files) == ({"b": "9001"}, [])
    write(tmp_path / "a.yaml", server("a", 9002))
    assert state(files) == ({"a": "9002", "b": "9001"}, [])


DEEP = "[" * 200_000
MERGE = "a0: &a0 {k0: v, k1: v, k2: v, k3: v, k4: v, k5: v, k6: v, k7: v, k8: v, k9: v}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 9)
)
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("weapon", "says"),
    [
        (DEEP, "100 levels deep"),
        ("- " * 200_000, "100 levels deep"),
        ("{a: " * 200_000, "100 levels deep"),
        ("? " * 200_000, "100 levels deep"),
        (DEEP + "]" * 200_000, "100 levels deep"),
        ('{"a":\t' * 200_000, "100 levels deep"),
        (MERGE, "repeat more than 100000 values"),
        (LAUGHS, "repeat more than 100000 values"),
        ("a: &a\n  b: *a\n", "stands in what it names"),
        ("a: &a\n  <<: *a\n", "stands in what it names"),
        ("---\n" * 60_000, "50000 documents"),
        ("[" + "0," * 1_100_000 + "0]", "1000000 values"),
    ],
    ids=[
        "flow",
        "block",
        "flow map",
        "keys",
        "closed",
        "json",
        "merge",
        "laughs",
        "loop",
        "merge loop",
        "many",
        "wide",
    ],
)
def test_a_file_that_would_be_too_much_is_refused_and_harms_no_other(
    tmp_path: Path, weapon: str, says: str
) -> None:
    write(tmp_path / "a.yaml", server("a"))
    write(tmp_path / "b.yaml", server("b"))
    files = Files([tmp_path])
    assert state(files)[1] == []
    write(tmp_path / "a.yaml", weapon)
    write(tmp_path / "b.yaml", server("b", 9001))
    assert state(files) == ({"a": "9000", "b": "9001"}, ["TooLarge"])
    (problem,) = files.refresh(READER)[1]
    assert problem.place.file == str(tmp_path / "a.yaml")
    assert says in problem.message
    write(tmp_path / "a.yaml", server("a", 9002))
    assert state(files) == ({"a": "9002", "b": "9001"}, [])


class Stopped(Reader):
    """A reader whose worker stands still when it is to read a file of this name."""

    def __init__(self, victim: str) -> None:
        super().__init__()
        self.victim = victim
        self.harms = 0

    def read(self, files: Sequence[tuple[Path, int]]) -> Sequence[tuple[Path, Parsed]]:
        if any(path.name == self.victim for path, _ in files):
            assert self._worker is not None
            self._worker.send_signal(signal.SIGSTOP)
            self.harms += 1
        return super().read(files)


def test_a_file_that_harms_the_worker_is_refused_and_read_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    write(tmp_path / "a.yaml", server("a"))
    write(tmp_path / "b.yaml", server("b"))
    files = Files([tmp_path], lambda: now)
    assert state(files)[1] == []
    harmful = f"{server('a', 9001)}# longer\n"
    monkeypatch.setattr(reader, "cpu_s", lambda size: 0.1 if size == len(harmful) else 60.0)
    write(tmp_path / "a.yaml", harmful)
    write(tmp_path / "b.yaml", server("b", 9001))
    with Stopped("a.yaml") as stopped:
        for _ in range(2):
            assert state(files, stopped) == ({"a": "9000", "b": "9001"}, ["Refused"])
        assert stopped.harms == 1
        (problem,) = files.refresh(stopped)[1]
        assert problem.place.file == str(tmp_path / "a.yaml")
        now = FIRST_WAIT_S
        assert state(files, stopped)[1] == ["Refused"]
        assert stopped.harms == 2
        write(tmp_path / "a.yaml", server("a", 9002))
        now = 3 * FIRST_WAIT_S - 0.1
        assert state(files, stopped)[1] == ["Refused"]
        assert stopped.harms == 2, "it waits twice as long"
        stopped.victim = ""
        now = 3 * FIRST_WAIT_S
        assert state(files, stopped) == ({"a": "9002", "b": "9001"}, [])
        write(tmp_path / "a.yaml", server("a", 9003))
        assert state(files, stopped) == ({"a": "9003", "b": "9001"}, [])


def test_a_harmful_file_that_is_removed_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "cpu_s", lambda size: 0.1 if size else 60.0)
    write(tmp_path / "a.yaml", server("a"))
    files = Files([tmp_path])
    with Stopped("a.yaml") as stopped:
        assert state(files, stopped) == ({}, ["Refused"])
        (tmp_path / "a.yaml").unlink()
        assert state(files, stopped) == ({}, [])


def test_what_was_named_and_vanished_stays_in_force(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.yaml", tmp_path / "more"
    folder.mkdir()
    write(file, server("a"))
    write(folder / "b.yaml", server("b"))
    files = Files([file, folder])
    file.unlink()
    assert state(Files([file, folder])) == ({"b": "9000"}, ["NotFound"])
    write(file, server("a"))
    assert state(files) == ({"a": "9000", "b": "9000"}, [])
    file.unlink()
    folder.rename(tmp_path / "away")
    assert state(files) == ({"a": "9000", "b": "9000"}, ["NotFound", "NotFound"])
    write(file, server("a", 9001))
    folder.mkdir()
    assert state(files) == ({"a": "9001"}, [])


def test_an_emptied_file_stays_in_force_and_an_empty_one_says_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", server("a"))
    (tmp_path / "b.yaml").touch()
    files = Files([tmp_path])
    assert state(files) == ({"a": "9000"}, [])
    (tmp_path / "a.yaml").write_text("")
    assert state(files) == ({"a": "9000"}, ["Empty"])
    assert state(files) == ({"a": "9000"}, ["Empty"])
    (tmp_path / "a.yaml").write_text("# nothing any more\n")
    assert state(files) == ({}, [])
