"""The table of the rules in the documentation."""

from onnx2mvit.reader.rules import all_rules
from tests.support.rules_table import TARGET, table, where_tested


def test_the_table_is_up_to_date() -> None:
    assert TARGET.read_text(encoding="utf-8") == table(), "run python -m tests.support.rules_table"


def test_every_rule_says_who_needs_it_and_is_tested() -> None:
    where = where_tested()
    for rule in all_rules():
        assert rule.needed_by, rule.name
        assert where[rule.name], rule.name
