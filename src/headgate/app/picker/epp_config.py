"""EndpointPickerConfig from a file or from the command line's text."""

from pathlib import Path

from headgate.io.sources.text import read_documents
from headgate.model.problems import Place, Problem
from headgate.picker.epp.config import KIND, Adopted, adopt

MOST_BYTES = 1 << 20
TEXT = "--config-text"


def read_config(path: Path | None, text: str = "") -> Adopted:
    """What the file at *path*, or else *text*, asks for. All that is wrong is among its problems."""
    if path is None:
        file, data = TEXT, text.encode("utf-8", "replace")
    else:
        file = str(path)
        try:
            if not path.is_file():
                return _wrong(file, "NotAFile", f"is no file; name a file with one {KIND}")
            with path.open("rb") as opened:
                data = opened.read(MOST_BYTES + 1)
        except OSError as error:
            return _wrong(file, "CannotRead", f"cannot be read: {error.strerror or error}")
    if len(data) > MOST_BYTES:
        return _wrong(file, "TooLarge", f"is longer than {MOST_BYTES >> 20} MiB")
    documents = list(read_documents(data, file))
    if broken := [each for each in documents if isinstance(each, Problem)]:
        return Adopted(problems=tuple(broken))
    if len(documents) != 1:
        return _wrong(file, "InvalidValue", f"has {len(documents)} documents; it must have one {KIND}")
    (document,) = documents
    assert not isinstance(document, Problem)
    if document.problems:
        return Adopted(problems=tuple(_as_error(each) for each in document.problems))
    return adopt(document.data, file, document.line_of)


def _as_error(problem: Problem) -> Problem:
    """A key written twice: nobody knows which one was meant."""
    return Problem(problem.place, problem.reason, problem.message)


def _wrong(file: str, reason: str, message: str) -> Adopted:
    return Adopted(problems=(Problem(Place(file), reason, message),))
