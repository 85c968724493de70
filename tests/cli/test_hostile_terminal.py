"""What a file calls its parts reaches a terminal as text: no cursor moves, no line is faked."""

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.support.command_line import Ran, Run
from tests.support.graphs import model, save

EVIL = "\x1b[31mE\x1b]8;;http://evil\x07L\x9b2J\u202eRTL\u2066\r\nFAKE: passed\u2028\u200b<b>[red]"
BODY = """g (float[N,3,16,16] x) => (float[N,5] y) {
    c = Conv(x, w)  e = Erf(c)  p = GlobalAveragePool(e)  f = Flatten(p)  y = Gemm(f, k, d) }"""
WEIGHTS: dict[str, Any] = {"w": (4, 3, 1, 1), "k": (4, 5), "d": (5,)}


def hostile(made: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with names that are commands to a terminal."""
    made.producer_name = made.producer_version = made.graph.name = EVIL
    made.metadata_props.add(key="onnx2mvit.weights", value=EVIL)
    for value in (*made.graph.input, *made.graph.output):
        value.name = EVIL + value.name
    for tensor in made.graph.initializer:
        tensor.name = EVIL + tensor.name
    for node in made.graph.node:
        node.name = f"/{EVIL}/{node.op_type}"
        for names in (node.input, node.output):
            names[:] = [EVIL + name for name in names]
        node.metadata_props.add(key="namespace", value=f"{EVIL}/{EVIL}: a.b.C/{EVIL}")
    return made


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One that can be converted, one that cannot, and one that is called so itself."""
    folder = tmp_path_factory.mktemp("hostile")
    good = save(hostile(model(BODY, **WEIGHTS)), folder, "good.onnx")
    bad = hostile(model(BODY.replace("Erf", "Bernoulli"), **WEIGHTS))
    named = folder / "a\x1b[31m\nFAKE: b\u202e<b>.onnx"
    shutil.copy(good, named)
    return [good, save(bad, folder, "bad.onnx"), named]


def assert_harmless(ran: Ran) -> None:
    for text in (ran.out, ran.err):
        assert text.replace("\n", "").isprintable()
        assert not any(line.startswith("FAKE") for line in text.splitlines())


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(
    "options",
    [(), ("--json",), ("--graph",), ("--explain",), ("--explain", "--json"), ("--why", "Conv2D")],
    ids=" ".join,
)
def test_inspect(run: Run, files: list[Path], number: int, options: tuple[str, ...]) -> None:
    ran = run("inspect", files[number], *options)
    assert ran.code == 0
    assert_harmless(ran)
    if "--json" in options:
        json.loads(ran.out)


def test_json_says_what_the_file_says(run: Run, files: list[Path]) -> None:
    told = json.loads(run("inspect", files[0], "--json").out)
    assert told["connections"]["inputs"] == [f"{EVIL}x"]
    assert told["onnx"]["weights"] == EVIL


def test_convert_and_its_messages(run: Run, files: list[Path], tmp_path: Path) -> None:
    for file, options in ((files[0], ()), (files[2], ("--json",))):
        ran = run("convert", file, "-o", tmp_path, "--no-verify", "--name", "net", *options)
        assert ran.code == 0
        assert_harmless(ran)
    for name in ("report.json", "report.html", "net.py"):
        text = (tmp_path / "net" / name).read_text(encoding="utf-8")
        assert not {"\x1b", "\x9b", "\u202e", "\u2028", "\x07"} & set(text)
    ran = run("convert", files[1], "-o", tmp_path)
    assert ran.code == 4 and ran.err.splitlines()[-1].startswith("error: ")
    assert_harmless(ran)
