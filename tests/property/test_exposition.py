"""The cheap reader of metrics pages against the full parser of prometheus-client."""

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from headgate.engines.exposition import Extractor, Series

WANTED = ("vllm:a", "vllm:ab", "vllm:a_total", "vllm:b")
OTHERS = ("vllm:abc", "xvllm:a", "vllm", "a", "vllm:a_bucket")

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('\\"\n{},= #'), max_size=12)
labels = st.dictionaries(st.sampled_from(["k", "le", "model_name", "_x1"]), texts, max_size=3)
values = st.floats() | st.integers(-(10**6), 10**6).map(float)
stamps = st.none() | st.integers(0, 2**41)
samples = st.tuples(st.sampled_from(WANTED + OTHERS), labels, values, stamps)


def line(name: str, its: dict[str, str], value: float, stamp: int | None) -> str:
    escaped = {
        key: text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"") for key, text in its.items()
    }
    braces = "{" + ",".join(f'{key}="{text}"' for key, text in escaped.items()) + "}" if its else ""
    number = {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN" if math.isnan(value) else repr(value))
    return f"{name}{braces} {number}" + ("" if stamp is None else f" {stamp}")


def comparable(value: float) -> str:
    return repr(value)


@given(st.lists(samples, max_size=12), st.booleans())
def test_both_readers_find_the_same(
    made: list[tuple[str, dict[str, str], float, int | None]], commented: bool
) -> None:
    lines = [line(*sample) for sample in made]
    if commented:
        lines = [
            each for text in lines for each in (f"# HELP {text.split('{')[0].split()[0]} vllm:a 1", text)
        ]
    page = "\n".join(lines) + "\n"
    found = Extractor(WANTED).samples(page.encode())
    ours = [
        (name, dict(sample.labels()), comparable(sample.value))
        for name in WANTED
        for sample in found.get(name, ())
    ]
    theirs = [
        (sample.name, dict(sample.labels), comparable(float(sample.value)))
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    ]
    assert sorted(ours, key=repr) == sorted((each for each in theirs if each[0] in WANTED), key=repr)


@given(st.binary(max_size=300))
def test_garbage_is_read_without_an_error(page: bytes) -> None:
    for found in Extractor(WANTED).samples(b"vllm:a{" + page + b"} 1\n" + page).values():
        for sample in found:
            sample.labels()


pages = st.lists(
    st.tuples(
        st.sampled_from(WANTED), st.sampled_from(["", '{k="1"}', '{k="2"}']), st.sampled_from(["1", "2", "x"])
    ),
    max_size=4,
)


@given(st.lists(pages, max_size=6))
def test_series_that_stay_read_as_new_ones_do(made: list[list[tuple[str, str, str]]]) -> None:
    extractor, series = Extractor(WANTED), Series()
    for page in ("".join(f"{name}{its} {value}\n" for name, its, value in each).encode() for each in made):
        found, fresh = (
            {name: [(dict(one.labels()), one.value) for one in each] for name, each in read.items()}
            for read in (series.take(extractor.lines(page)), extractor.samples(page))
        )
        assert found == fresh
