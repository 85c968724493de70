"""Options that take several values, and what is said where they took one too many."""

from pathlib import Path

import pytest
import typer.main

from onnx2mvit.cli.main import app
from tests.support.command_line import Run
from tests.support.graphs import model, save

NET = "g (float[N,4] x) => (float[N,4] z) { y = Exp(x)  z = Neg(y) }"
PATTERN = """from onnx2mvit.matcher import Pattern

class Twice{name}(Pattern):
    keras = "twice_{name}"

    def onnx(self, op, x):
        return op.{name}(op.{name}(x))

def twice_{name}(x, *, name):
    return x
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(model(NET), tmp_path, "net.onnx")
    for name, operator in (("a.py", "Erf"), ("b.py", "Sin")):
        (tmp_path / name).write_text(PATTERN.format(name=operator))


@pytest.mark.usefixtures("net")
@pytest.mark.parametrize(
    "arguments",
    [
        "net.onnx --outputs y z",
        "--outputs y z net.onnx",
        "net.onnx --outputs y --outputs z",
        "net.onnx --patterns a.py b.py",
        "--patterns a.py b.py net.onnx",
        "--outputs y z --patterns a.py b.py net.onnx",
    ],
)
def test_an_option_takes_several_before_and_after_the_file(run: Run, arguments: str) -> None:
    ran = run("inspect", *arguments.split())
    assert ran.code == 0, ran.err
    assert "Exp" in ran.out


@pytest.mark.usefixtures("net")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            "convert --outputs y z missing.onnx",
            "--outputs took all of 'y', 'z', 'missing.onnx'; put it first, as in "
            "`onnx2mvit convert missing.onnx --outputs y z`",
        ),
        ("inspect --outputs y", "as in `onnx2mvit inspect FILE --outputs y`"),
        ("inspect --patterns a.py b.py", "--patterns took all of 'a.py', 'b.py'"),
        ("deploy net --images one two", "argument(s) (two): --images takes one value"),
        ("deploy net --json one", "argument(s) (one) (see"),
        ("convert net.onnx --images one two", "(--images takes one folder: what follows is a"),
        ("convert ", "a target is an empty text"),
        ("convert", "Missing argument 'targets'. (see"),
        ("deploy", "Missing argument 'target'. (see"),
    ],
)
def test_what_took_too_much_is_named(run: Run, arguments: str, says: str) -> None:
    ran = run(*arguments.split(" "))
    assert ran.code == 2
    assert says in ran.err and ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("convert net.onnx --inputs 8_0", "'--inputs': '8_0' is not a whole number"),
        ("convert net.onnx --inputs=8_0", "'--inputs': '8_0' is not a whole number"),
        ("verify net.onnx net --inputs ٣", "'--inputs': '٣' is not a whole number"),
        ("convert net.onnx --inputs two", "'--inputs': 'two' is not a whole number"),
        ("inspect net.onnx --depth 1_0", "'--depth': '1_0' is not a whole number"),
        ("convert net.onnx --crop 0_1", "'--crop': '0_1' is not a number"),
        ("convert net.onnx --inputs", "requires an argument"),
    ],
)
def test_what_is_no_number_is_none_for_any_option(run: Run, arguments: str, says: str) -> None:
    ran = run(*arguments.split(" "))
    assert ran.code == 2
    assert says in ran.err and ran.err.count("\n") == 1


def test_every_option_that_takes_a_number_is_known_to(tmp_path: Path) -> None:
    commands = typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]  # a group has them
    known = {option for command in commands for option in command._numbers()}
    assert {"--inputs", "--seed", "--crop", "--threads", "--agreement", "--opset"} <= known
