"""Prints the oldest versions that pyproject.toml allows, as `pip install -r` takes them."""

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent / "pyproject.toml"


def pins() -> list[str]:
    """Of what a conversion on TensorFlow needs."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["tensorflow-cpu"]]
    return [re.sub(r">=([\d.]+).*", r"==\1", each) for each in needed]


if __name__ == "__main__":
    print("\n".join(pins()))
