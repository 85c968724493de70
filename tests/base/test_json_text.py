"""JSON that any reader takes and no terminal obeys."""

import json

from onnx2mvit.base.json_text import json_text

HOSTILE = "\x1b[31m\x7f\x9b2J\u202e\u2066\r\n\u2028\u200b\ufeff\ud800×…é"


def test_it_says_the_same_in_printable_characters() -> None:
    text = json_text({HOSTILE: [HOSTILE, {"a": 1.5}]})
    assert json.loads(text) == {HOSTILE: [HOSTILE, {"a": 1.5}]}
    assert text.replace("\n", "").isprintable()
    assert "×…é" in text


def test_numbers_that_json_does_not_have_are_texts() -> None:
    told = json_text({"a": [float("nan"), float("inf")], "b": (-float("inf"), 1e300)})
    assert json.loads(told, parse_constant=lambda name: 1 / 0) == {
        "a": ["nan", "inf"],
        "b": ["-inf", 1e300],
    }
