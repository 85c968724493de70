"""What a network has no use for is left out of the functions of its blocks."""

import ast
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from onnx2mvit.emitter.prune import forwarded, prune
from onnx2mvit.ir.block import Block

FUNCTION = '''
def block(
    x: KerasTensor,
    filters: int,
    squeeze: int | None = None,
    gate: str = "sigmoid",
    wide: bool = False,
    bias: bool = True,
    *,
    act: str = "relu",
    name: str,
    **conv: Any,
) -> KerasTensor:
    """A block – of two branches."""
    y = conv_bn_act(x, filters, **conv)
    if squeeze is not None:
        # Only with squeeze.
        y = squeeze_excite(y, squeeze, gate=gate, name="se")
    if wide:
        y = widen(y, act, name="wide")
    if bias:
        y = add_bias(y)
    return y
'''.lstrip()


def blocks(*params: Mapping[str, Any]) -> list[Block]:
    return [cast(Block, SimpleNamespace(params=each)) for each in params]


def pruned(*params: Mapping[str, Any], forwarded: str = "") -> str:
    text = prune(FUNCTION, blocks(*params), set(forwarded.split()))
    ast.parse(text)
    return text


def test_branches_that_no_block_takes_go_with_their_arguments() -> None:
    text = pruned({"filters": 8}, {"filters": 16, "squeeze": None, "wide": False})
    assert text == FUNCTION.replace(
        """    squeeze: int | None = None,
    gate: str = "sigmoid",
    wide: bool = False,
    bias: bool = True,
    *,
    act: str = "relu",
""",
        """    bias: bool = True,
    *,
""",
    ).replace(
        """    if squeeze is not None:
        # Only with squeeze.
        y = squeeze_excite(y, squeeze, gate=gate, name="se")
    if wide:
        y = widen(y, act, name="wide")
""",
        "",
    )


def test_a_branch_of_values_that_no_block_has_goes() -> None:
    branch = """    if act in ("gelu_tanh", "gelu_sigmoid"):
        return approximate(y, act)
"""
    text = FUNCTION.replace("    return y\n", f"{branch}    return y\n")
    without = prune(text, blocks({}, {"act": "silu"}), {"act"})
    assert branch not in without and without.endswith("    return y\n")
    assert branch in prune(text, blocks({}, {"act": "gelu_tanh"}), {"act"})


def test_an_else_takes_the_place_of_the_branch_that_no_block_takes() -> None:
    text = FUNCTION.replace(
        """    if bias:
        y = add_bias(y)
""",
        """    if wide:
        y = widen(y, act, name="far")
    # Before it.
    else:
        # Narrow.
        if bias:
            y = add_bias(y)
        y = narrow(y, "a – b")
""",
    )
    kept = prune(text, blocks({"wide": True}, {"wide": False}), set())
    assert text.partition("if wide:")[2] == kept.partition("if wide:")[2]
    every = prune(text, blocks({"wide": True}, {"wide": True}), set())
    ast.parse(every)
    assert every.endswith("""
    if wide:
        y = widen(y, act, name="wide")
    y = widen(y, act, name="far")
    return y
""")
    text = prune(text, blocks({"squeeze": 4}), set())
    ast.parse(text)
    assert "wide" not in text and "widen" not in text
    assert text.endswith(
        """
    # Narrow.
    if bias:
        y = add_bias(y)
    y = narrow(y, "a – b")
    return y
"""
    )


def test_what_one_block_has_stays_for_all() -> None:
    text = pruned({"squeeze": 4}, {"wide": False})
    assert "squeeze_excite" in text and "gate" in text
    assert "widen" not in text and "act:" not in text


def test_what_another_function_hands_on_stays() -> None:
    assert pruned({}, forwarded="squeeze wide") == FUNCTION
    text = pruned({}, forwarded="gate")
    assert "squeeze_excite" not in text and 'gate: str = "sigmoid"' in text


def test_what_the_model_function_offers_goes_if_nothing_uses_it() -> None:
    text = FUNCTION.replace("y = squeeze_excite(y,", "y = squeeze_excite(y, gate, squeeze,")
    assert "squeeze_excite" not in prune(text, blocks({}), (), ("gate",))
    assert "gate" not in prune(text, blocks({}), (), ("gate",))
    assert "gate: str" in prune(text, blocks({"squeeze": 4}), (), ("gate",))
    assert "gate: str" in prune(text, blocks({}), ("gate",), ("gate",))


def test_an_argument_that_a_block_gives_stays_even_if_unused() -> None:
    assert "gate: str" in pruned({"gate": "hard_sigmoid"})


@pytest.mark.parametrize(
    "body",
    [
        "if squeeze is None:\n        y = 1",
        "if name:\n        y = 1\n    elif squeeze is None:\n        y = 2",
        "if squeeze == 0:\n        y = 1",
        "if not squeeze:\n        y = 1",
    ],
)
def test_other_conditions_stay(body: str) -> None:
    text = f"def block(x, squeeze=None, *, name):\n    {body}\n    return y\n"
    assert prune(text, blocks({}), set()) == text


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("if squeeze:\n        y = 1\n    elif name:\n        y = 2", "if name:\n        y = 2"),
        ("if name:\n        y = 1\n    elif squeeze:\n        y = 2", "if name:\n        y = 1"),
        (
            "if name:\n        y = 1\n    elif squeeze:\n        y = 2\n    else:\n        y = 3",
            "if name:\n        y = 1\n    else:\n        y = 3",
        ),
        ("y = (1 if squeeze else x or 2) + 1", "y = (x or 2) + 1"),
    ],
)
def test_of_several_branches_those_stay_that_may_be_taken(body: str, left: str) -> None:
    text = "def block(x, {}*, name):\n    {}\n    return y\n"
    assert prune(text.format("squeeze=None, ", body), blocks({}), set()) == text.format("", left)


@pytest.mark.parametrize(
    ("given", "left"), [({}, "0"), ({"squeeze": 1}, "0"), ({"squeeze": 2}, "")]
)
def test_what_no_block_has_more_of_goes(given: dict[str, int], left: str) -> None:
    text = "def block(x, squeeze=1, *, name):\n    return {}, squeeze\n"
    whole = text.format("many(x) if squeeze > 1 and x else 0")
    assert prune(whole, blocks({}, given), set()) == (text.format(left) if left else whole)


def branch(condition: str, options: str) -> str:
    return f"def block(x, {options}*, name):\n    if {condition}:\n        x = 1\n    return x\n"


@pytest.mark.parametrize("join", ["a and x", "x and a", "a and not x"])
def test_a_join_of_conditions_that_never_holds_goes(join: str) -> None:
    text = prune(branch(join, "a=None, "), blocks({}), set())
    assert text == "def block(x, *, name):\n    return x\n"


def test_what_always_holds_is_not_asked() -> None:
    text = prune(branch("a and not b", "a=None, b=False, "), blocks({"a": 1}), set())
    assert text == branch("a", "a=None, ")


def test_an_argument_that_is_used_elsewhere_too_stays() -> None:
    text = "def block(x, wide=False, *, name):\n    if wide:\n        x = 1\n    return x + wide\n"
    expected = "def block(x, wide=False, *, name):\n    return x + wide\n"
    assert prune(text, blocks({}), set()) == expected


def test_arguments_on_one_line() -> None:
    text = "def block(x, a=None, b=2, *, name):\n    if a:\n        x = a\n    return x + b\n"
    expected = "def block(x, b=2, *, name):\n    return x + b\n"
    assert prune(text, blocks({"b": 3}), set()) == expected


def test_what_functions_hand_on_by_name_to_one_another() -> None:
    texts = ["def f(x):\n    return g(x, a=1, **x)\n", "def h(x):\n    return f(x, b=2)\n"]
    written = [node for text in texts for node in ast.walk(ast.parse(text))]
    assert forwarded(written, "f") == {"b"}
    assert forwarded(written, "g") == {"a", "b"}
    assert forwarded(written, "h") == set()


CHOICE = "def choice(x, masked=False, *, name):\n    return {}\n"


@pytest.mark.parametrize(
    ("masked", "left"),
    [((False, False), "attend(x)"), ((True, True), "attend(x, causal=True)"), ((True, False), "")],
)
def test_of_a_choice_what_is_never_taken_goes(masked: tuple[bool, ...], left: str) -> None:
    text = CHOICE.format("attend(x, causal=True) if masked else attend(x)")
    expected = CHOICE.replace(" masked=False,", "").format(left) if left else text
    assert prune(text, blocks(*({"masked": each} for each in masked)), set()) == expected
