"""What a pattern's function calls with is the same, whichever defaults a module gives the callee.

A module's defaults of `style` are what is commonest in its network (`emitter.pattern_functions`).
"""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

from onnx2mvit import patterns
from onnx2mvit.matcher.pattern import Pattern

MODULES = [
    importlib.import_module(f"{patterns.__name__}.{module.name}")
    for module in pkgutil.iter_modules(patterns.__path__)
]


def styles() -> dict[str, set[str]]:
    """The arguments of functions whose defaults follow the network."""
    found: dict[str, set[str]] = {}
    for module in MODULES:
        for kind in vars(module).values():
            if inspect.isclass(kind) and issubclass(kind, Pattern) and kind.keras is not None:
                found.setdefault(str(kind.keras), set()).update(kind.style)
    return found


def left_out(module: ModuleType, style: dict[str, set[str]]) -> Iterator[str]:
    """Calls that forward nothing and leave such an argument to its default."""
    for call in ast.walk(ast.parse(inspect.getsource(module))):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            continue
        name, given = call.func.id, {keyword.arg for keyword in call.keywords}
        if name not in style or None in given or not hasattr(module, name):
            continue
        arguments = [*inspect.signature(getattr(module, name)).parameters]
        missing = style[name] & {*arguments} - {*arguments[: len(call.args)]} - given
        if name == "conv_bn_act":
            missing -= unused(call)
        if missing:
            yield f"{call.lineno}: {name} without {', '.join(sorted(missing))}"


def unused(convolution: ast.Call) -> set[str]:
    """What says nothing where there is no normalization, and where no pixel is left out."""
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in convolution.keywords}
    bare = {"bn_epsilon", "bn_momentum"} if given.get("batch_norm") == "False" else set()
    return bare | (set() if "strides" in given else {"padding"})


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.split(".")[-1])
def test_no_call_relies_on_a_default_that_follows_the_network(module: ModuleType) -> None:
    assert not [*left_out(module, styles())]
