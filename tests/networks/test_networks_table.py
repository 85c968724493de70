"""The table of networks has a row for each family of blocks."""

import re

import pytest

from tests.support.networks_table import HEAD, PAGE, families, networks, papers
from tests.support.page_tables import cells

FAMILIES = families()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_network_in_it(family: str) -> None:
    shown = {kind for row in cells(PAGE, HEAD) for kind in re.findall(r"`(\w+)`", row[2])}
    assert FAMILIES[family] & shown


def test_the_papers_are_those_of_the_blocks() -> None:
    shown = {blocks: named for _, _, blocks, named, *_ in cells(PAGE, HEAD)}
    assert shown == {blocks: papers(re.findall(r"`(\w+)`", blocks)) for blocks in shown}


def test_every_export_is_in_it() -> None:
    named = {network: int(exports) for network, exports, *_ in cells(PAGE, HEAD)}
    assert named == {network: len(files) for network, files in networks().items()}
