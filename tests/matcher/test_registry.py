"""The order of patterns, what is refused, and the form that every built-in pattern has."""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from onnx2mvit.matcher import Expr, Match, Ops, Var
from onnx2mvit.matcher.expression import Chain, ForEach, Op, Operand, Param
from onnx2mvit.matcher.pattern import Pattern
from onnx2mvit.matcher.registry import builtin_patterns, builtin_rules, in_order, patterns_of
from onnx2mvit.reader.rules import all_rules

PATTERNS = {pattern.kind: pattern for pattern in builtin_patterns()}
COMPOSITES = [pattern for pattern in PATTERNS.values() if pattern.keras is not None]
BY_FUNCTION = {str(pattern.keras): pattern for pattern in COMPOSITES}
KINDS = {
    name: {pattern.kind for pattern in COMPOSITES if pattern.keras == name} for name in BY_FUNCTION
}


class Made(Pattern):
    """Reads these operators or kinds, one after the other."""

    def onnx(self, op: Ops, x: Var) -> Expr:
        y: Expr = x
        for name in self.of:
            y = getattr(op, name)(y)
        return y

    of: tuple[str, ...] = ()

    def params(self, m: Match) -> dict[str, Any]:
        return {}


def made(name: str, *of: str, **members: Any) -> Pattern:
    """A pattern of this kind, made of these operators or kinds."""
    cls = type(name, (Made,), {"of": of, **(members or {"layer": name})})
    pattern = cls()
    assert isinstance(pattern, Pattern)
    return pattern


def test_every_pattern_comes_after_its_parts() -> None:
    found = [made("Top", "Left", "Right"), made("Right", "Low"), made("Left", "Sin"),
             made("Low", "Cos")]  # fmt: skip
    for given in (found, found[::-1]):
        kinds = [pattern.kind for pattern in in_order(given)]
        assert sorted(kinds) == ["Left", "Low", "Right", "Top"]
        assert kinds.index("Low") < kinds.index("Right") < kinds.index("Top")
        assert kinds.index("Left") < kinds.index("Top")


def test_a_pattern_may_come_before_one_that_would_take_a_part_of_it() -> None:
    found = [made("Apart", "Sin"), made("Whole", "Sin", "Cos", layer="W", before=("Apart", "Not"))]
    assert [pattern.kind for pattern in in_order(found)] == ["Whole", "Apart"]


def test_a_pattern_goes_before_those_that_would_take_its_parts() -> None:
    early = made("Z", "Low", layer="Z", before=("A", "Elsewhere"))
    found = [made("A", "Low"), early, made("Low", "Sin"), made("Top", "A")]
    for given in (found, found[::-1]):
        assert [pattern.kind for pattern in in_order(given)] == ["Low", "Z", "A", "Top"]


def test_what_would_take_a_part_of_any_other_is_last() -> None:
    found = [made("A", "Sin", layer="A", last=True), made("Z", "Low"), made("Low", "Cos")]
    assert [pattern.kind for pattern in in_order(found)] == ["Low", "Z", "A"]


def test_the_order_does_not_depend_on_that_of_the_files() -> None:
    shuffled = in_order(sorted(PATTERNS.values(), key=lambda pattern: pattern.kind[::-1]))
    assert [pattern.kind for pattern in shuffled] == list(PATTERNS)


def test_built_in_patterns_come_after_their_parts() -> None:
    order = list(PATTERNS)
    for kind, pattern in PATTERNS.items():
        assert all(order.index(part) < order.index(kind) for part in pattern.ops & set(order))


def test_two_patterns_of_one_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="two patterns Twice"):
        in_order([made("Twice", "Sin"), made("Twice", "Cos")])


def test_patterns_made_of_each_other_are_refused_and_named() -> None:
    with pytest.raises(ValueError, match="made of each other") as refused:
        in_order([made("A", "B"), made("B", "C"), made("C", "A"), made("D", "A")])
    cycle = str(refused.value).partition(": ")[2]
    assert sorted(cycle.split(" → ")) == ["A", "B", "C"]


def test_a_pattern_called_like_its_own_operator_is_refused() -> None:
    with pytest.raises(ValueError, match="Gelu is called like an operator that it is made of"):
        in_order([made("Gelu", "Erf", "Gelu")])


@pytest.mark.parametrize(
    "members", [{"nested": False}, {"layer": "Dense", "keras": "dense"}], ids=["neither", "both"]
)
def test_a_pattern_is_a_layer_or_has_a_function(members: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs either `layer` or `keras`"):
        in_order([made("Lost", "Sin", **members)])


class Joined(Pattern):
    """A Reshape between two nodes, with this role."""

    layer = "Joined"
    role: str | None = None

    def onnx(self, op: Ops, x: Var) -> Expr:
        return op.Sin(op.Reshape(op.Cos(x), role=self.role))


def test_a_reshape_to_whatever_shape_would_be_a_neighbours() -> None:
    with pytest.raises(ValueError, match=r"Joined has a Reshape to whatever shape: write op\."):
        in_order([Joined()])
    named = type("Joined", (Joined,), {"role": "joined"})()
    assert in_order([named]) == (named,)
    last = made("Flat", "Sin", "Reshape")
    assert in_order([last]) == (last,)


def test_the_rules_of_families_are_applied_with_the_general_ones() -> None:
    names = [rule.name for rule in builtin_rules()]
    assert "UnfoldFromConv" in names and len(set(names)) == len(names)
    files = {type(rule).__module__.rpartition(".")[0] for rule in builtin_rules()}
    assert files == {"onnx2mvit.patterns"}
    assert {*names, "MergeMoves"} <= {rule.name for rule in all_rules()}


def test_a_module_hands_out_the_patterns_that_it_defines_itself() -> None:
    module = ModuleType("elsewhere")
    own = type("Own", (Made,), {"__module__": "elsewhere", "of": ("Sin",)})
    abstract = type("Abstract", (Pattern,), {"__module__": "elsewhere"})
    for member in (own, abstract, Made, Pattern, type(PATTERNS["Dense"])):
        setattr(module, member.__name__, member)
    assert [pattern.kind for pattern in patterns_of(module)] == ["Own"]


def test_what_is_usual_are_the_defaults_of_the_function_and_of_those_it_hands_on_to() -> None:
    assert PATTERNS["ConvBnAct"].usual()["activation"] == "silu"
    residual = PATTERNS["InvertedResidual"].usual()
    assert residual["kernel_size"] == 3 and residual["squeeze_bias"] is True
    assert residual["bn_epsilon"] == 1e-5
    assert residual["use_bias"] is False  # conv_bn_act's, not that of squeeze_excite
    assert "filters" not in residual
    assert PATTERNS["BatchNorm"].usual() == {"epsilon": 1e-5, "momentum": 0.9}
    assert PATTERNS["Activation"].usual() == {}


def function_of(pattern: Pattern) -> ast.FunctionDef:
    """The Keras function of a composite, which must be defined beside the pattern, or beside
    another that becomes the same.
    """
    function = vars(sys.modules[type(pattern).__module__])[str(pattern.keras)]
    alike = (each for each in COMPOSITES if each.keras == pattern.keras)
    assert function.__module__ in {type(each).__module__ for each in alike}
    (tree,) = ast.parse(inspect.getsource(function)).body
    assert isinstance(tree, ast.FunctionDef)
    return tree


def arguments(function: ast.FunctionDef) -> list[str]:
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return [argument.arg for argument in every]


def calls(function: ast.FunctionDef) -> Iterator[ast.Call]:
    return (node for node in ast.walk(function) if isinstance(node, ast.Call))


composite = pytest.mark.parametrize("pattern", COMPOSITES, ids=lambda pattern: str(pattern.kind))


@composite
def test_the_function_takes_what_makes_a_block_of_its_own(pattern: Pattern) -> None:
    names = arguments(function_of(pattern))
    assert names[0] == "x"
    assert "name" in names or not pattern.nested
    assert ast.get_docstring(function_of(pattern))


@composite
def test_the_function_takes_its_style_parameters_with_a_default(pattern: Pattern) -> None:
    function = function_of(pattern)
    plain = [*function.args.posonlyargs, *function.args.args]
    with_default = {argument.arg for argument in plain[-len(function.args.defaults) :]}
    with_default |= {
        argument.arg
        for argument, default in zip(
            function.args.kwonlyargs, function.args.kw_defaults, strict=True
        )
        if default is not None
    }
    assert set(pattern.style) <= with_default


@composite
def test_the_function_hands_on_what_a_network_chooses_once(pattern: Pattern) -> None:
    function = function_of(pattern)
    for call in calls(function):
        callee = BY_FUNCTION.get(call.func.id) if isinstance(call.func, ast.Name) else None
        if callee is None:
            continue
        passed = {keyword.arg: keyword.value for keyword in call.keywords}
        order = arguments(function_of(callee))
        given = {order[index] for index in range(len(call.args))} | passed.keys()
        without_bn = isinstance(passed.get("batch_norm"), ast.Constant)
        constants = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
        one_pixel = callee.keras == "conv_bn_act" and constants == [1]  # kernel_size
        fixed = {
            keyword
            for part in pattern.expression.walk()
            if isinstance(part, Op) and part.op in KINDS[str(callee.keras)]
            for keyword, value in part.keywords.items()
            if not isinstance(value, Param)
        }
        for parameter in callee.style:
            unused = without_bn and parameter.startswith("bn_")
            unused |= parameter in fixed  # the network has no choice
            unused |= one_pixel and parameter == "padding"
            assert parameter in given or None in given or unused, f"{callee.keras}({parameter}=)"


def names_in(function: ast.FunctionDef, module: str) -> set[str]:
    """The names of layers as they are written: "norm", "{name}_conv", "layer.{i}", "{name}".

    Also those in plain functions of the module that this one calls.
    """
    found = set()
    for call in calls(function):
        called = ast.unparse(call.func)
        helper = vars(sys.modules[module]).get(called)
        if called not in BY_FUNCTION and inspect.isfunction(helper):
            (tree,) = ast.parse(inspect.getsource(helper)).body
            assert isinstance(tree, ast.FunctionDef)
            found |= names_in(tree, module)
        for keyword in call.keywords:
            if keyword.arg == "name":
                text = ast.unparse(keyword.value)
                match = re.fullmatch(r"""f?['"](.*)['"]""", text)
                found.add(match[1] if match else f"{{{text}}}")
    return found


@composite
def test_the_function_names_each_of_its_blocks_by_its_role(pattern: Pattern) -> None:
    names = names_in(function_of(pattern), type(pattern).__module__)
    if pattern.is_leaf:
        return  # its parts are in the one layer
    parts = list(pattern.expression.walk())
    several = [part for part in parts if isinstance(part, Operand) and part.most != 1]
    operands = [operand for part in several for operand in part.parts]
    every = [part for part in parts if isinstance(part, ForEach)]
    numbered = [each for part in every for inner in part.parts for each in inner.walk()]
    assert all(f"{part.role}.{{i}}" in names for part in several if part.most is None)
    for part in parts:
        if not isinstance(part, Op) or part.op not in PATTERNS:
            continue
        child = PATTERNS[part.op]
        if part.role is None and part in operands:
            continue  # the sum has it, for all of them
        assert part.role, f"a {part.op} has no role"
        if child.keras is not None and "name" not in arguments(function_of(child)):
            continue  # it makes no layer
        several_of_it = isinstance(part, Chain) or part in numbered
        role = part.role + ".{i}" if several_of_it else re.sub(r"\.\d+$", ".{i}", part.role)
        if role == pattern.main:
            assert "{name}" in names
        else:
            assert (role if pattern.nested else f"{{name}}_{role}") in names


@composite
def test_the_main_part_is_one_of_its_roles(pattern: Pattern) -> None:
    assert pattern.main is None or (pattern.main in pattern.roles and not pattern.nested)


@pytest.mark.parametrize(
    "pattern",
    [pattern for pattern in PATTERNS.values() if pattern.is_leaf],
    ids=lambda pattern: str(pattern.kind),
)
def test_a_leaf_is_a_layer_of_keras(pattern: Pattern) -> None:
    from onnx2mvit.base.backend import import_keras

    keras = import_keras()
    if pattern.layer is None:  # its function makes one, and calls it with several tensors
        assert "layers." in ast.unparse(function_of(pattern))
    else:
        assert hasattr(keras.layers, pattern.layer) and not pattern.style
    assert not pattern.nested
