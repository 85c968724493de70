"""Single operators on ONNX's own tests: each case passes, or docs/operators.md says why not."""

import pytest

from tests.support.node_collection import cases
from tests.support.operators_table import TARGET, Page, bodies, claimed, proof_of, refusals, row

pytestmark = pytest.mark.xdist_group("node-cases")

AGAIN = "run python -m tests.support.operators_table"


@pytest.mark.parametrize("operator", sorted(claimed() | set(Page.read().operators())))
def test_an_operator_does_what_the_page_says(operator: str) -> None:
    proof = proof_of(operator)
    assert not proof.failed, "\n".join(f"{name}: {why}" for name, why in proof.failed.items())
    assert Page.read().of(operator) == ([row(proof)], refusals(proof)), AGAIN


def test_the_page_has_all_operators_of_which_something_is_converted() -> None:
    page = Page.read()
    assert page.operators() == sorted(set(page.operators()) | claimed()), AGAIN
    for operator in sorted(cases().keys() - set(page.operators())):
        proof = proof_of(operator)
        assert not proof.failed, f"{operator}: {proof.failed}"
        assert not proof.passed, f"{operator}: {AGAIN}"


def test_the_bodies_of_functions_are_right_where_they_are_converted() -> None:
    line, failed = bodies()
    assert not failed, "\n".join(f"{name}: {why}" for name, why in failed.items())
    assert Page.read().bodies == line, AGAIN


def test_the_totals_on_the_page_are_those_of_its_rows() -> None:
    assert Page.read().text() == TARGET.read_text(encoding="utf-8"), AGAIN
