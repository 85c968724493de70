"""The command line: results on stdout, progress on stderr, and a code for each kind of failure."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import onnx
import pytest

from onnx2mvit.version import __version__
from tests.support.command_line import Ran, Run
from tests.support.graphs import model, save

Fill = Callable[[str], Path]
XXS = "hf-mobilevit_xxs.legacy17.bn.dynb"
TINY = """g (float[N,3,32,32] x) => (float[N,4,32,32] y) {
    c = Conv(x, w, b)  s = Sigmoid(c)  y = Mul(c, s)
}"""
COMMANDS = [
    "export",
    "inspect",
    "convert",
    "verify",
    "patterns",
    "benchmark",
    "deploy",
    "evaluate",
    "publish",
]


def alone(*arguments: str | Path, **environment: str) -> Ran:
    """Runs Python in a process of its own."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", **environment},
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def tiny(folder: Path, seed: int = 0) -> Path:
    made = model(TINY, seed=seed, w=(4, 3, 1, 1), b=(4,))
    return save(made, folder, f"tiny{seed}.onnx")


def odd(path: Path, folder: Path) -> Path:
    """The same network with a Bernoulli where its first Sigmoid was."""
    made = onnx.load(path)
    next(node for node in made.graph.node if node.op_type == "Sigmoid").op_type = "Bernoulli"
    return save(made, folder, "odd.onnx")


def test_the_help_lists_the_commands_and_the_exit_codes(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0
    assert all(command in ran.out for command in COMMANDS)
    assert "Exit codes" in ran.out


def test_all_versions_are_shown(run: Run) -> None:
    ran = run("--version")
    assert (ran.code, ran.err) == (0, "")
    first, *others = ran.out.splitlines()
    assert first == f"onnx2mvit {__version__}"
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    names = ["python", "keras", backend, "onnx", "onnxruntime"]
    assert [line.partition(" ")[0] for line in others] == names
    assert f"keras {keras.__version__}" in others


def test_help_is_short_for_a_command_too(run: Run) -> None:
    assert run("-h") == run("--help")
    assert run("convert", "-h") == run("convert", "--help")


def test_names_are_listed_and_a_misspelt_one_is_found_without_torch() -> None:
    code = (
        "import sys; from onnx2mvit.cli.main import app\n"
        "try: app({arguments!r}, standalone_mode=False)\n"
        "except Exception as error: print(error)\n"
        "print(sorted({'torch', 'keras', 'transformers'} & set(sys.modules)))"
    )
    listed = alone("-c", code.replace("{arguments!r}", "['export', '--list']")).out.splitlines()
    assert listed[-1] == "[]" and "mobilevit_xs" in listed
    said = alone("-c", code.replace("{arguments!r}", "['export', 'mobilvit_xs']")).out.splitlines()
    assert said[0].startswith("'mobilvit_xs' is no name of a network")
    assert "did you mean 'mobilevit_xs' or" in said[0] and said[-1] == "[]"


@pytest.mark.parametrize("command", ["convert", "verify", "deploy"])
def test_a_folder_of_no_images_is_told_of_before_the_work_begins(
    command: str, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    targets = [tiny(tmp_path), tmp_path][: 2 if command == "verify" else 1]
    for folder, said in (("nowhere", "not a folder of images"), ("empty", "holds no images")):
        ran = run(command, *targets, "--images", tmp_path / folder)
        assert ran.code == 2 and said in ran.err
        assert len(ran.err.splitlines()) == 1  # no stage has begun


def test_a_misspelt_pattern_is_found(run: Run) -> None:
    ran = run("patterns", "MobileVitBlock")
    assert ran.code == 2
    assert "there is no pattern 'MobileVitBlock': did you mean 'MobileViTBlock' or" in ran.err


def test_inspect_shows_the_blocks_and_that_nothing_is_left(run: Run, filled: Fill) -> None:
    ran = run("inspect", filled(XXS))
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert sum("─ InvertedResidual " in line for line in lines) == 7
    assert sum("─ MobileViTBlock " in line for line in lines) == 3
    assert "(100.0 %), 0 single operators, 0 not supported; batch normalization kept" in lines[-1]


def test_inspect_shows_no_more_levels_than_asked_for(run: Run, filled: Fill) -> None:
    ran = run("inspect", filled(XXS), "--depth", "1")
    assert "InvertedResidual" in ran.out
    assert "DepthwiseConv2D" not in ran.out
    assert "DepthwiseConv2D" in run("inspect", filled(XXS), "--depth", "3").out


def test_inspect_gives_json(run: Run, filled: Fill) -> None:
    ran = run("inspect", filled(XXS), "--json")
    assert ran.code == 0
    told = json.loads(ran.out)
    assert set(told) == {
        *("onnx", "coverage", "simplification", "batch_normalization", "blocks", "connections"),
        *("inputs", "outputs", "preprocessing", "detections"),
        "leftovers",
    }
    assert set(told["onnx"]) == {
        *("file", "sha256", "opset", "producer", "nodes", "weights", "precision", "outputs"),
        *("dynamic_batch", "dynamic_size", "merged_branches"),
    }
    assert told["onnx"]["file"] == f"{XXS}.onnx"
    assert told["coverage"]["nodes"] == told["coverage"]["in_blocks"] > 0
    assert told["leftovers"] == []
    size = {"nodes", "output_shape", "parameters"}
    keys = {"kind", "name", "path", "params", "children"} | size
    blocks = list(told["blocks"])
    for block in blocks:
        assert set(block) == keys
        blocks += block["children"]
    assert sum(block["kind"] == "InvertedResidual" for block in blocks) == 7


def test_inspect_says_what_no_pattern_took_and_succeeds(
    run: Run, filled: Fill, tmp_path: Path
) -> None:
    path = odd(filled(XXS), tmp_path)
    ran = run("inspect", path, "--json")
    assert ran.code == 0
    entry = next(each for each in json.loads(ran.out)["leftovers"] if each["op"] == "Bernoulli")
    assert entry["module"] == "model.mobilevit.conv_stem.activation"
    assert "Sigmoid" in entry["closest"] and ": " in entry["closest"]
    shown = run("inspect", path)
    assert shown.code == 0
    assert entry["why"] == "operator Bernoulli is not known"
    line = f"Bernoulli in {entry['module']}: {entry['why']} (closest: {entry['closest']})"
    assert line in shown.out


def test_what_is_not_supported_is_named_with_its_module_and_the_closest_pattern(
    run: Run, filled: Fill, tmp_path: Path
) -> None:
    ran = run("convert", odd(filled(XXS), tmp_path), "-o", tmp_path / "out")
    assert ran.code == 4
    assert ran.out == ""
    message = ran.err.splitlines()[-1]
    assert message.startswith("error: ")
    for part in (
        "'/model/mobilevit/conv_stem/activation/Sigmoid'",
        "(Bernoulli, ",
        "'model.mobilevit.conv_stem.activation'",
        "as a single operator it cannot be converted: operator Bernoulli is not known",
        "closest pattern is ",
    ):
        assert part in message
    assert not (tmp_path / "out").exists()


def test_a_conversion_says_how_far_it_is_on_stderr_and_what_came_out_on_stdout(
    run: Run, tmp_path: Path
) -> None:
    ran = run("convert", tiny(tmp_path), "-o", tmp_path / "out")
    assert ran.code == 0
    folder = tmp_path / "out" / "tiny0"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *(
            "node_data.json",
            "report.html",
            "report.json",
            "tiny0.keras",
            "tiny0.py",
            "tiny0.safetensors",
        )
    }
    assert str(folder) in ran.out
    assert all(name in ran.out for name in names)
    assert "passed" in ran.out
    stages = [line.split()[2] for line in ran.err.splitlines()]
    assert list(dict.fromkeys(stages)) == [
        "read",
        "rewrite",
        "emit",
        "build",
        "verify",
        "save",
        "report",
    ]

    again = run("verify", tiny(tmp_path), folder, "--json", "--inputs", "2")
    assert again.code == 0
    assert json.loads(again.out)["verdict"] == "passed"

    other = run("verify", tiny(tmp_path, seed=1), folder)
    assert other.code == 5
    assert "failed" in other.out
    assert other.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect",),
        ("inspect", "a.onnx", "--no-such-option"),
        ("no-such-command",),
        ("inspect", "a.onnx", "--depth", "-1"),
        ("verify", "a.onnx", "b", "--inputs", "0"),
        ("convert", "a.onnx", "--inputs", "0"),
        ("export", "mobilevit_xs", "--image-size", "large"),
        ("export", "mobilevit_xs", "--image-size", "16"),
        ("export", "mobilevit_xs", "--image-size", "64x"),
        ("export", "mobilevit_xs", "--image-size", "64x64x3"),
        ("export", "mobilevit_xs", "--exporter", "other"),
        ("convert", "a.onnx", "--name", "not a name"),
        ("convert", "a.onnx", "--name", "../up"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err != ""
    assert "Traceback" not in ran.err


def test_an_unknown_model_is_refused_with_the_known_ones(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    ran = run("export", "mobilevit_xxl", "--weights", "random", "-o", tmp_path / "a.onnx")
    assert ran.code == 2
    assert "'mobilevit_xxl'" in ran.err
    assert "mobilevit_xxs" in ran.err
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.parametrize("command", ["inspect", "convert"])
@pytest.mark.parametrize("content", [None, b"", b"not a model", bytes(1000)])
def test_what_is_no_onnx_file_is_refused_with_3(
    run: Run, tmp_path: Path, command: str, content: bytes | None
) -> None:
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    ran = run(command, path)
    assert ran.code == 3
    assert ran.out == ""
    message = ran.err.splitlines()[-1]
    assert message.startswith(f"error: {path} ")
    assert "Traceback" not in ran.err


def test_brackets_in_a_message_are_not_taken_for_colours(run: Run, tmp_path: Path) -> None:
    ran = run("inspect", tmp_path / "[red]a[/red].onnx")
    assert ran.code == 3
    assert "[red]a[/red].onnx does not exist" in ran.err


def test_a_backend_that_is_not_there_is_refused_with_6_and_what_to_install(tmp_path: Path) -> None:
    ran = alone(
        *("-m", "onnx2mvit", "convert", tiny(tmp_path), "-o", tmp_path / "out"),
        KERAS_BACKEND="nonexistent",
    )
    assert ran.code == 6
    assert ran.out == ""
    assert "nonexistent is not installed" in ran.err
    assert "pip install 'onnx2mvit[tensorflow]'" in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "out" / "tiny0").exists()


@pytest.mark.parametrize("use", ["import onnx2mvit", "inspect"])
def test_no_framework_is_imported_that_is_not_needed(tmp_path: Path, use: str) -> None:
    if use == "inspect":
        use = f"import onnx2mvit; onnx2mvit.inspect({str(tiny(tmp_path))!r})"
    loaded = (
        "{'keras', 'tensorflow', 'torch', 'jax', 'transformers', 'onnxruntime'} & set(sys.modules)"
    )
    ran = alone("-c", f"import sys; {use}; print({loaded} or 'none')")
    assert (ran.code, ran.out) == (0, "none\n"), ran.err


def test_a_reader_that_goes_away_is_no_failure(filled: Fill) -> None:
    command = f"{sys.executable} -m onnx2mvit inspect {filled(XXS)} --json | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")
