"""Where everything of the comparison lies."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
DRIVERS = Path(__file__).parent / "drivers"
BUILD = ROOT / "build" / "peers"
INSTALLED = BUILD / "environments"
NETWORKS = BUILD / "networks"
RESULTS = BUILD / "results"
DOCS = ROOT / "docs"
RECORD, PAGE, PICTURE = DOCS / "peers.json", DOCS / "peers.md", DOCS / "peers.svg"
