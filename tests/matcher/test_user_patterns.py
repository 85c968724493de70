"""Patterns of one's own: used like ours, and blamed with their own file and line."""

import importlib.metadata
import json
import os
import re
import sys
from pathlib import Path

import pytest

import onnx2mvit
from onnx2mvit.errors import UsageError
from onnx2mvit.matcher.user_patterns import all_patterns
from tests.support.command_line import Run
from tests.support.graphs import model, save

pytestmark = pytest.mark.xdist_group("user_patterns")

PAGE = Path(__file__).parent.parent.parent / "docs" / "adding_a_block.md"
GATED = """g (float[N,3,16,16] x) => (float[N,4,16,16] y) {
    a = Conv<pads=[1,1,1,1]>(x, w0, b0)  c = Conv<pads=[1,1,1,1]>(x, w1, b1)
    s = Sigmoid(c)  y = Mul(a, s)
}"""


def example() -> str:
    """The file on the page."""
    (code,) = re.findall(r"```python\n(\"\"\"Gated.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return str(code)


def written(folder: Path, text: str, name: str = "gated.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def network(folder: Path) -> Path:
    return save(
        model(GATED, w0=(4, 3, 3, 3), b0=(4,), w1=(4, 3, 3, 3), b1=(4,)), folder, "net.onnx"
    )


def test_the_example_on_the_page_is_converted_and_verified(run: Run, tmp_path: Path) -> None:
    file, own = network(tmp_path), written(tmp_path, example())
    assert "GatedConv" not in run("inspect", file).out
    assert "GatedConv" in run("inspect", file, "--patterns", own).out
    assert (
        "GatedConv holds at 1 places"
        in run("inspect", file, "--why", "GatedConv", "--patterns", own).out
    )
    ran = run("convert", file, "--patterns", own, "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    source = (tmp_path / "out" / "net" / "net.py").read_text(encoding="utf-8")
    assert "def gated_conv(x, filters, *, name, **conv):" in source
    assert "def conv_bn_act(" in source and "KerasTensor" not in source
    own_report = json.loads((tmp_path / "out" / "net" / "report.json").read_text())
    assert own_report["coverage"]["single_ops"] == 0
    assert run("verify", file, tmp_path / "out" / "net", "--patterns", own).code == 0


def test_the_list_and_one_pattern_are_shown(run: Run, tmp_path: Path) -> None:
    own = written(tmp_path, example())
    ours = {each["kind"]: each for each in json.loads(run("patterns", "--json").out)}
    assert ours["InvertedResidual"]["papers"][0] == "1801.04381"
    assert ours["Dense"] == {"kind": "Dense", "papers": [], "is": "leaf", "becomes": "layers.Dense"}
    assert "GatedConv" not in ours
    assert "│ Bottleneck " in run("patterns").out
    shown = run("patterns", "GatedConv", "--patterns", own).out
    assert "The gated linear unit over images (arXiv:1612.08083, section 2)." in shown
    assert "return op.Mul(y, gate)" in shown
    assert "    def gated_conv(x, filters, *, name, **conv):" in shown
    ran = run("patterns", "Nothing")
    assert ran.code == 2 and "there is no pattern 'Nothing'" in ran.err


def test_a_file_written_before_the_language_had_one_door_still_works(tmp_path: Path) -> None:
    door = "from onnx2mvit.matcher import Expr, Match, Ops, Pattern, Var, require"
    before = (
        "from onnx2mvit.matcher import Match\n"
        "from onnx2mvit.pattern import Expr, Ops, Pattern, Var, require"
    )
    assert door in example()
    own = written(tmp_path, example().replace(door, before))
    network_of = onnx2mvit.inspect(network(tmp_path), patterns=[own])
    assert [block.kind for block in network_of.blocks] == ["GatedConv"]
    assert network_of.blocks[0].params["filters"] == 4


RULE = '''
class SigmoidFromParts(Rule):
    """1 - sigmoid(-x) → sigmoid(x)"""

    def onnx(self, op, x):
        return op.Sub(scalar("one", 1.0), op.Sigmoid(op.Neg(x)))

    def rewrite(self, m, new):
        return new.Sigmoid(m.x, shape=m.x.shape)
'''
HELPER = '''
def times(x: KerasTensor, gate: KerasTensor) -> KerasTensor:
    """A product."""
    return layers.Multiply(name="product")([x, gate])
'''


def test_a_file_may_have_rules_and_functions_that_are_no_blocks(tmp_path: Path) -> None:
    text = example().replace("Pattern, Var, require", "Pattern, Rule, Var, require, scalar")
    text = text.replace('layers.Multiply(name="product")([y, gate])', "times(y, gate)")
    own = written(tmp_path, text + HELPER + RULE)
    spelled = GATED.replace("s = Sigmoid(c)", "n = Neg(c)  t = Sigmoid(n)  s = Sub(one, t)")
    made = model(spelled, w0=(4, 3, 3, 3), b0=(4,), w1=(4, 3, 3, 3), b1=(4,), one=1.0)
    file = save(made, tmp_path, "net.onnx")
    result = onnx2mvit.convert(file, tmp_path / "out", patterns=[own], inputs=2)
    assert result.passed and [block.kind for block in result.blocks] == ["GatedConv"]
    assert result.report["simplification"]["rules"]["SigmoidFromParts"] == 1
    source = result.source.read_text(encoding="utf-8")
    assert "def times(x, gate):" in source and source.index("def times") < source.index("def gated")
    broken = written(tmp_path, text + HELPER + RULE.replace("m.x, shape", "m.z, shape"), "b.py")
    with pytest.raises(UsageError, match=r"b\.py:\d+: the rule SigmoidFromParts failed while"):
        onnx2mvit.inspect(file, patterns=[broken])


def test_two_functions_of_one_name_are_refused(tmp_path: Path) -> None:
    own = written(tmp_path, example() + HELPER.replace("times", "conv_bn_act"))
    before = GATED.replace("(x, w", "(z, w").replace("{", "{ z = Conv<pads=[1,1,1,1]>(x, k) ", 1)
    made = model(before, k=(3, 3, 3, 3), w0=(4, 3, 3, 3), b0=(4,), w1=(4, 3, 3, 3), b1=(4,))
    file = save(made, tmp_path, "net.onnx")
    with pytest.raises(UsageError, match=r"a function 'conv_bn_act' in .*conv.py and .*gated.py"):
        onnx2mvit.convert(file, tmp_path / "out", patterns=[own])


FORWARDED = '''"""Gates, and what stands on them."""

from onnx2mvit.matcher import Pattern, p


class Gate(Pattern):
    """x · tanh(x), or x · sigmoid(x)."""

    keras = "gate"

    def onnx(self, op, x):
        return op.Mul(x, op.Activation(x, role="act"))

    def params(self, m):
        return {"signed": m.act.activation == "tanh"}


def gate(x, signed: bool = False, *, name):
    """A gate."""
    if signed:
        y = layers.Activation("tanh", name=f"{name}_act")(x)
    else:
        y = layers.Activation("sigmoid", name=f"{name}_act")(x)
    return ops.multiply(x, y)


class NegatedGate(Pattern):
    """−gate(x)"""

    keras = "negated_gate"

    def onnx(self, op, x):
        return op.Neg(op.Gate(x, role="gate", signed=p.signed))


def negated_gate(x, *, name, **options):
    """A gate, negated."""
    {handed}
    return ops.negative(gate(x, name=f"{name}_gate", **options))
'''


@pytest.mark.parametrize("handed", ["", 'options = {"signed": options["signed"]}'])
def test_what_a_function_hands_on_goes_where_it_is_left_out(tmp_path: Path, handed: str) -> None:
    """That all gates are signed leaves nobody to say so, whoever would hand it on."""
    text = "g (float[N,4] x) => (float[N,4] y) { t = Tanh(x)  g = Mul(x, t)  y = Neg(g) }"
    own = written(tmp_path, FORWARDED.replace("{handed}", handed))
    file = save(model(text), tmp_path, "net.onnx")
    result = onnx2mvit.convert(file, tmp_path / "out", patterns=[own], inputs=2)
    assert result.passed and [block.kind for block in result.blocks] == ["NegatedGate"]
    assert ("signed" in result.source.read_text(encoding="utf-8")) is bool(handed)


BROKEN = [
    ("class A(:\n", r"gated\.py:1: it cannot be imported: "),
    ("import nothing_here\n", r"gated\.py:1: it cannot be imported: ModuleNotFoundError"),
    ("\0", r"gated\.py:1: it cannot be imported: SyntaxError"),
    ("x = 1\nraise SystemExit(0)\n", r"gated\.py:2: it cannot be imported: SystemExit: 0"),
    ("x = 1\n", r"gated\.py:1: there is no pattern in it"),
    (("class GatedConv", "class Bottleneck"), r"gated\.py:15: there is already a 'Bottleneck', in"),
    (("gated_conv", "bottleneck"), r"gated\.py:15: there is already a 'bottleneck', in this"),
    (('keras = "gated_conv"', 'keras = "other"'), r"gated\.py:15: GatedConv becomes 'other', and"),
    (("return op.Mul(y, gate)", "return op.Mul(z)"), r"gated\.py:24: a pattern cannot be made: Na"),
    (('    keras = "gated_conv"\n', ""), r"gated\.py: pattern GatedConv needs either"),
    (
        ("require(m.conv", "require(1 / 0 and m.conv"),
        r"gated\.py:27: the pattern GatedConv failed while it was matched: ZeroDivisionError",
    ),
    (
        ("require(m.conv", "raise SystemExit('own'); require(m.conv"),
        r"gated\.py:27: the pattern GatedConv failed while it was matched: SystemExit: own",
    ),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_a_broken_file_is_told_with_its_line(
    run: Run,
    tmp_path: Path,
    change: str | tuple[str, str],
    message: str,
) -> None:
    text = change if isinstance(change, str) else example().replace(*change)
    assert text != example()
    own = written(tmp_path, text)
    ran = run("inspect", network(tmp_path), "--patterns", own)
    assert ran.code == 2 and ran.out == ""
    assert re.search(message, ran.err), ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("fault", ["nothing.here", "raise SystemExit(0)"])
def test_a_function_that_fails_is_told_with_its_line(run: Run, tmp_path: Path, fault: str) -> None:
    text = example().replace("    y = layers.Multiply", f"    {fault}\n    y = layers.Multiply")
    own = written(tmp_path, text)
    ran = run("convert", network(tmp_path), "--patterns", own, "-o", tmp_path / "out")
    assert ran.code == 2
    assert re.search(r"gated\.py:15: the function gated_conv failed: ", ran.err)
    assert not (tmp_path / "out").exists()


def test_what_is_no_file_is_a_usage_error_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "loop.py").symlink_to("loop.py")
    for name, said in {
        "nothing.py": "does not exist",
        "loop.py": "does not exist",
        "pipe.py": "is not a file",
        ".": "is not a file",
        "n" * 300: "File name too long",
    }.items():
        with pytest.raises(UsageError, match=said):
            all_patterns([tmp_path / name])


def test_an_installed_package_needs_no_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, example(), "my_gated.py")
    info = tmp_path / "my_gated-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-gated\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[onnx2mvit.patterns]\ngated = my_gated\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = importlib.metadata.entry_points(group="onnx2mvit.patterns")
    assert [entry.value for entry in found] == ["my_gated"]
    blocks = onnx2mvit.inspect(network(tmp_path)).blocks
    assert [block.kind for block in blocks] == ["GatedConv"]
    written(tmp_path, example().replace("return op.Mul(y, gate)", "return gone"), "my_gated.py")
    monkeypatch.delitem(sys.modules, "my_gated")
    with pytest.raises(UsageError, match=r"my_gated\.py:24: a pattern cannot be made"):
        onnx2mvit.inspect(network(tmp_path))
