"""Nothing that steers a terminal is left in a text."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from headgate.model.printable import printable, printable_json, printable_metrics


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain / naïve 模型 😀 \u00a0", "plain / naïve 模型 😀 \u00a0"),
        ("\x1b[2J\x1b]0;x\x07", r"\x1b[2J\x1b]0;x\x07"),
        ("a\nb\r\tc\x00\x7f\x9b", r"a\nb\r\tc\x00\x7f\x9b"),
        ("\u202eevil\u2066\u200b\ufeff\u2028", r"\u202eevil\u2066\u200b\ufeff\u2028"),
        ("\ud800", r"\ud800"),
        ("[bold]", "[bold]"),
    ],
)
def test_what_is_not_visible_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(exclude_categories=[])))
def test_no_control_is_left(text: str) -> None:
    shown = printable(text)
    assert all(unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for each in shown)
    assert printable(shown) == shown
    shown.encode()


@given(st.text())
def test_json_keeps_its_meaning_and_steers_nothing(text: str) -> None:
    shown = printable_json(json.dumps({"k": text}, ensure_ascii=False).encode())
    assert json.loads(shown) == {"k": text}
    assert not any(ord(each) < 0x20 or 0x7F <= ord(each) <= 0x9F or each == "\u202e" for each in shown)


@given(st.text())
def test_metrics_keep_their_shape_and_steer_nothing(value: str) -> None:
    label = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    page = f'# TYPE m gauge\nm{{l="{label}"}} 1.0\n'
    shown = printable_metrics(page.encode()).decode()
    ((sample,),) = (family.samples for family in text_string_to_metric_families(shown))
    assert sample.value == 1.0
    assert not any((ord(each) < 0x20 and each != "\n") or 0x7F <= ord(each) <= 0x9F for each in shown)
    if value.isprintable():
        assert sample.labels == {"l": value}
    if value == "\x1b":
        assert sample.labels == {"l": r"\x1b"}
