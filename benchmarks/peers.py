"""The peers, with their versions, and the environments that they are installed into."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.networks import BATCHES
from benchmarks.places import DRIVERS, INSTALLED, NETWORKS, RESULTS

STAMP = ".installed"


class NotInstalledError(Exception):
    """An environment that pip, or the lack of a Python, did not let us make."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own: the version of Python, and what pip installs.

    One that stands `above` another has that one's packages as well, and gets no dependencies.
    """

    name: str
    version: str
    packages: tuple[str, ...]
    above: Environment | None = None

    @property
    def python(self) -> Path:
        """Its interpreter, whether it is there or not."""
        return INSTALLED / self.name / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Where its packages lie, in its folder."""
        return Path("lib") / f"python{self.version}" / "site-packages"

    def install(self) -> None:
        """Makes it, unless it is there with these packages.

        Raises:
            NotInstalledError: there is no such Python, or pip fails.
        """
        folder, wanted = INSTALLED / self.name, "\n".join(self.packages) + "\n"
        stamp = folder / STAMP
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            return
        if self.above:
            self.above.install()
        print(f"{self.name}: installing {', '.join(self.packages)}", flush=True)
        _run(str(interpreter(self.version)), "-m", "venv", str(folder))
        options: tuple[str, ...] = ()
        if self.above:
            options = ("--no-deps",)
            below = INSTALLED / self.above.name / self.site_packages
            (folder / self.site_packages / "below.pth").write_text(f"{below}\n", encoding="utf-8")
        _run(str(self.python), "-m", "pip", "install", "--quiet", *options, *self.packages)
        stamp.write_text(wanted, encoding="utf-8")


def interpreter(version: str) -> Path:
    """A Python of this version: ours, one on the path, or one of pyenv.

    Raises:
        NotInstalledError: there is none.
    """
    found = [Path(sys.executable)] if version == f"3.{sys.version_info.minor}" else []
    found += [Path(each) for each in (shutil.which(f"python{version}"),) if each]
    found += sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for each in found:  # a shim of pyenv is on the path without the Python behind it
        if subprocess.run([each, "--version"], capture_output=True, check=False).returncode == 0:
            return each
    raise NotInstalledError(f"there is no Python {version} here")


def _run(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise NotInstalledError((ran.stderr.strip() or ran.stdout.strip()).splitlines()[-1])


ONNX2TF = Environment("onnx2tf", "3.12", ("onnx2tf[tensorflow]==2.6.9",))
# Those that read modules of torch share one, as their versions allow it.
TORCH = Environment(
    "torch",
    "3.11",
    (
        "litert-torch==0.10.0",
        "pnnx==20261020",
        "keras-hub==0.32.0",
        "keras==3.15.1",
        "tensorflow==2.21.0",
        "tf-keras==2.21.0",
        "torch==2.13.0",
        "transformers==5.23.0",
        "efficientnet-lite-pytorch==0.1.0",
    ),
)

# Its torchvision is for torch with CUDA: beside torch without, it breaks what imports it.
NOBUCO = Environment(
    "nobuco", "3.11", ("nobuco==0.17.0", "torchvision==0.28.0", "sty==1.0.6"), above=TORCH
)
ENVIRONMENTS = (ONNX2TF, TORCH, NOBUCO)


@dataclass(frozen=True)
class Contender:
    """What one peer makes of a network in one form, or a runtime on the exporter's file.

    Attributes:
        peer: the package.
        form: LiteRT, SavedModel, Keras, ONNX, OpenVINO or torch.
        runtime: what runs it, a name of `runtimes.RUNNERS`.
        file: what is to be run, `{batch}` in it the number of images; where the driver makes it,
            within the folder of its results.
        environment: where the driver runs; None is ours.
        driver: the program, in `drivers`; None for what needs no conversion.
        keras: the file that Keras is to load, where there is one.
        fixed_batch: whether a file takes one number of images.
        batches: those that it is looked at; one where another conversion would take minutes.
    """

    peer: str
    form: str
    runtime: str
    file: str
    environment: Environment | None = None
    driver: str | None = None
    keras: str | None = None
    fixed_batch: bool = False
    batches: tuple[int, ...] = BATCHES

    @property
    def key(self) -> str:
        """A name for folders."""
        return f"{self.peer}-{self.form}".replace(" ", "_").lower()

    def folder(self, network: str) -> Path:
        """Where what it makes of a network lies."""
        return RESULTS / network / self.key

    def artifact(self, network: str, batch: int) -> Path:
        """The file that is to be run on so many images."""
        if self.driver is None:
            return NETWORKS / network / self.file.format(batch=batch)
        made = f"batch{batch}" if self.fixed_batch else "batch1"
        return self.folder(network) / made / self.file

    @property
    def program(self) -> Path | None:
        """The driver's file."""
        return DRIVERS / f"{self.driver}.py" if self.driver else None

    @property
    def python(self) -> Path:
        """The interpreter that runs the driver."""
        return self.environment.python if self.environment else Path(sys.executable)


OURS, REFERENCE = "onnx2mvit", "onnxruntime"
CONTENDERS = (
    Contender(REFERENCE, "ONNX", "onnxruntime", "network.onnx"),
    Contender(OURS, "ONNX", "onnxruntime", "model.onnx", driver="ours"),
    Contender(OURS, "OpenVINO", "openvino", "model.xml", driver="ours", fixed_batch=True),
    Contender("openvino", "OpenVINO", "openvino", "network{batch}.onnx", fixed_batch=True),
    Contender(OURS, "LiteRT", "litert", "model.tflite", driver="ours", fixed_batch=True),
    Contender("onnx2tf", "LiteRT", "litert", "model.tflite", ONNX2TF, "with_onnx2tf",
              fixed_batch=True),
    Contender("litert-torch", "LiteRT", "litert", "model.tflite", TORCH, "with_litert_torch",
              fixed_batch=True),
    Contender(OURS, "SavedModel", "saved_model", "saved_model", driver="ours"),
    Contender(OURS, "Keras", "saved_model", "saved_model", driver="ours", keras="model.keras"),
    Contender("onnx2tf", "Keras", "saved_model", "saved_model", ONNX2TF, "with_onnx2tf",
              keras="model.h5", fixed_batch=True, batches=(1,)),
    Contender("nobuco", "Keras", "saved_model", "saved_model", NOBUCO, "with_nobuco",
              keras="model.h5", fixed_batch=True, batches=(1,)),
    Contender("keras-hub", "Keras", "saved_model", "saved_model", TORCH, "with_keras_hub",
              keras="model.keras"),
    Contender("torch", "torch", "torch", "network.pt"),
    Contender("pnnx", "torch", "torch", "network_pnnx.py", TORCH, "with_pnnx", fixed_batch=True),
)  # fmt: skip
