"""README's table of networks has a row for each family of blocks."""

import re

import pytest

from tests.support.networks_table import README, ROWS, families, networks, papers

FAMILIES = families()


def rows() -> list[str]:
    table = ROWS.search(README.read_text(encoding="utf-8"))
    assert table is not None
    return table.group().splitlines()[2:]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_network_in_it(family: str) -> None:
    shown = {kind for row in rows() for kind in re.findall(r"`(\w+)`", row)}
    assert FAMILIES[family] & shown


def cells() -> list[list[str]]:
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows()]


def test_the_papers_are_those_of_the_blocks() -> None:
    shown = {blocks: named for _, _, blocks, named, *_ in cells()}
    assert shown == {blocks: papers(re.findall(r"`(\w+)`", blocks)) for blocks in shown}


def test_every_export_is_in_it() -> None:
    named = {network: int(exports) for network, exports, *_ in cells()}
    assert named == {network: len(files) for network, files in networks().items()}
