"""The emitted module is imported and its weights are loaded.

There is no second way to make the model, so the source cannot lie.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import inspect
import os
import shutil
import traceback
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from onnx2mvit.base.backend import import_keras
from onnx2mvit.base.optional import optional
from onnx2mvit.base.quiet import one_line
from onnx2mvit.base.user_files import refuse_special
from onnx2mvit.errors import InvalidModelError, Onnx2mvitError, UnsupportedError, UsageError

if TYPE_CHECKING:
    import keras


class _SourceLoader(importlib.machinery.SourceFileLoader):
    """Writes no `__pycache__` beside the source: the folder is published as it is."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Does nothing with the compiled module."""


def import_module(path: Path) -> ModuleType:
    """Imports a Python file under a name of its own; sys.modules and its folder are left alone.

    Raises:
        InvalidModelError: it is no module.
    """
    name = f"onnx2mvit_emitted.{path.stem}"
    loader = _SourceLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None:
        raise InvalidModelError(f"{path} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def build(folder: str | Path, name: str | None = None, **arguments: Any) -> keras.Model:
    """Makes the model that `convert` wrote to a folder: NAME.py with NAME.safetensors.

    Args:
        folder: its module is executed: only build folders that you trust.
        name: NAME, where the folder holds several; by default the one that is there.
        arguments: of the model function, whose docstring has them: `input_shape` (height, width,
            channels), `num_classes`, `dropout` and others.

    Returns:
        The model; images are (batch, height, width, channels) float32.

    Raises:
        InvalidModelError: the folder holds no such model, or its weights do not fit.
        UnsupportedError: the model cannot be made with these arguments.
    """
    folder = Path(folder)
    if name is None:
        modules = sorted(
            path for path in folder.glob("*.py") if path.with_suffix(".safetensors").exists()
        )
        if len(modules) != 1:
            raise InvalidModelError(f"{folder} is not a folder that `onnx2mvit convert` wrote")
        name = modules[0].stem
    for file in (folder / f"{name}.py", folder / f"{name}.safetensors"):
        refuse_special(file)  # others would wait for a pipe
    import_keras()
    function = getattr(import_module(folder / f"{name}.py"), name)
    unknown = arguments.keys() - inspect.signature(function).parameters.keys()
    if unknown:
        raise UnsupportedError(f"{name} has no argument {min(unknown)!r}: see {folder}/{name}.py")
    try:
        model: object = function(**arguments)
    except RecursionError as error:
        raise UnsupportedError(
            f"{name} has too many layers one after the other: Keras goes through them by recursion"
        ) from error
    except OSError as error:
        raise InvalidModelError(f"{folder}: its weights cannot be read: {error}") from error
    except (TypeError, ValueError) as error:
        if any(frame.name == "load_weights" for frame in traceback.extract_tb(error.__traceback__)):
            raise InvalidModelError(f"{folder}: {one_line(error)}") from error
        raise UnsupportedError(f"{name} cannot be made so: {one_line(error)}") from error
    return _functional(model, f"what {name} in {folder}/{name}.py makes")


def _functional(model: object, what: str) -> keras.Model:
    """A model with named inputs and outputs, as `convert` writes them.

    Raises:
        InvalidModelError: it is another kind of model, or none.
    """
    if not isinstance(model, import_keras().Model) or not hasattr(model, "output_names"):
        raise InvalidModelError(f"{what} is no functional model of Keras, as `convert` writes them")
    return model


def save(model: keras.Model, path: Path) -> None:
    """Writes a model to a .keras file, by way of a folder beside it.

    Keras by itself holds all weights once more until its archive is written.

    Raises:
        OSError: it cannot be written.
    """
    folder = path.with_suffix(".parts")
    try:
        model.save(folder, zipped=False)
    except Exception as error:
        first: BaseException = error  # what fails while Keras and HDF5 close hides why they do
        while first.__context__ is not None:
            first = first.__context__
        if isinstance(first, OSError) and first.errno:
            raise OSError(first.errno, os.strerror(first.errno)) from error
        raise
    with zipfile.ZipFile(path, "w") as archive:
        for part in sorted(folder.rglob("*")):
            if part.is_file():
                archive.write(part, part.relative_to(folder))
    shutil.rmtree(folder)


@contextmanager
def loading(target: Path) -> Iterator[None]:
    """Meanwhile, a converted model is loaded, whose files may have been cut off or changed.

    Raises:
        InvalidModelError: they were.
    """
    try:
        yield
    except Onnx2mvitError:
        raise
    except (Exception, SystemExit) as error:  # a module that was changed may do anything
        raise InvalidModelError(
            f"{target} cannot be loaded, a file in it was cut off or changed "
            f"({one_line(error)}): convert the ONNX file again"
        ) from error


def load(target: Path, trust_module: bool = False, **arguments: Any) -> keras.Model:
    """A converted model: a .keras file, or a folder that `convert` wrote.

    Args:
        target: the file, or the folder, whose module is executed.
        trust_module: whether the NAME.py beside a NAME.keras is executed as well, if the model
            has layers that it registers: one for any size does.
        arguments: of the model function, for a folder.

    Raises:
        InvalidModelError: it is neither, or it was cut off or changed.
        UsageError: the model needs the module beside it, and that is not trusted.
    """
    with loading(target):
        if target.is_dir():
            return build(target, **arguments)
        if target.suffix != ".keras" or not target.is_file():
            raise InvalidModelError(
                f"{target} is neither a folder that `convert` wrote nor a .keras file"
            )
        keras_module = import_keras()
        source = target.with_suffix(".py")
        registers = source.is_file() and b"register_keras_serializable" in source.read_bytes()
        if registers and trust_module:
            import_module(source)
        try:
            model = keras_module.models.load_model(target, compile=False)
        except (TypeError, ValueError) as error:
            if not registers or trust_module:
                raise
            raise UsageError(
                f"{target} has layers of its own, which {source.name} beside it registers: add "
                f"--trust-module (in Python trust_module=True) to run it ({one_line(error)})"
            ) from error
        return _functional(model, str(target))


@contextmanager
def float64_allowed() -> Iterator[None]:
    """Meanwhile Keras computes in float64 where that is asked for, as JAX by itself does not."""
    if import_keras().backend.backend() != "jax":
        yield
        return
    with optional("jax").enable_x64(True):
        yield


def in_float64(model: keras.Model) -> keras.Model:
    """The same model with its weights, inputs and arithmetic in float64."""
    text = model.to_json().replace('"float32"', '"float64"')
    wide: keras.Model = import_keras().models.model_from_json(text)
    wide.set_weights(model.get_weights())
    return wide
