"""A folder of photographs and their classes, as ImageNet's lie; its list is never all in memory.

Either each class has a folder of its own, or a table (CSV) names the class of every image.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from onnx2mvit.base.numbers import written_whole
from onnx2mvit.base.user_files import labels_in, reading
from onnx2mvit.errors import UsageError
from onnx2mvit.runtimes.images import SUFFIXES, images_below

Item = tuple[str, int]  # an image, by its path in the folder, and the number of its class
# What the columns of a table are called, in lower case; without a header they are the first two.
IMAGE_COLUMNS = ("image", "file", "filename", "file_name", "path", "imageid", "image_id")
CLASS_COLUMNS = ("class", "label", "target", "class_id", "label_id", "wnid", "predictionstring")


class Source(Protocol):
    """Images with their classes, each time from the disk."""

    def __iter__(self) -> Iterator[Item]:
        """Always in the same order."""


@dataclass(frozen=True)
class Batch:
    """Images that are answered together; `start` is the number of the first."""

    start: int
    names: tuple[str, ...]
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Dataset:
    """Photographs of known classes.

    Attributes:
        folder: in which they lie.
        source: all of them.
        total: how many that are.
        taken: so many of them are looked at, evenly out of all.
        classes: the name of each class, by its number.
        fingerprint: of all names and classes.
    """

    folder: Path
    source: Source
    total: int
    taken: int
    classes: tuple[str, ...]
    fingerprint: str

    def __iter__(self) -> Iterator[Item]:
        """Those that are looked at."""
        for number, item in enumerate(self.source):
            if number * self.taken // self.total != (number + 1) * self.taken // self.total:
                yield item

    def batches(self, size: int) -> Iterator[Batch]:
        """The same, so many at a time."""
        items = iter(self)
        for start in range(0, self.taken, size):
            names, classes = zip(*islice(items, size), strict=True)
            yield Batch(start, names, classes)


@dataclass(frozen=True)
class ClassFolders:
    """A folder for each class, by its name; images may lie deeper in it."""

    folder: Path
    numbers: Mapping[str, int]

    def __iter__(self) -> Iterator[Item]:
        for name, number in self.numbers.items():
            for path in images_below(self.folder / name):
                yield path.relative_to(self.folder).as_posix(), number


@dataclass(frozen=True)
class Table:
    """A CSV file with a line for each image."""

    file: Path
    image: int
    label: int
    header: bool
    numbers: Mapping[str, int]

    def __iter__(self) -> Iterator[Item]:
        for name, label in self.rows():
            if label not in self.numbers:
                raise UsageError(f"{self.file.name}: {name} is of class {label!r}, which is none")
            yield name, self.numbers[label]

    def rows(self) -> Iterator[tuple[str, str]]:
        """Images and classes as they stand in the file."""
        with reading(self.file, "a CSV file", UsageError), self.file.open(newline="") as lines:
            for row in islice(csv.reader(lines), int(self.header), None):
                if not row:
                    continue
                if len(row) <= max(self.image, self.label):
                    raise UsageError(f"{self.file.name}: {','.join(row)!r} names no class")
                yield row[self.image].strip(), row[self.label].strip()


def open_dataset(
    folder: Path, classes: int, labels: Path | None = None, limit: int | None = None
) -> Dataset:
    """Finds the images of a folder and their classes.

    Args:
        folder: with a folder for each class, or with images and a table of them.
        classes: how many the network has.
        labels: a table (.csv) of image and class, or the names of the network's classes, one a
            line. Without the latter, class folders that are numbers mean these, and others are
            classes in the order of their names; so are the names in a table.
        limit: so many images at most, evenly out of all.

    Raises:
        UsageError: there are no images, or their classes do not fit the network.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder of images")
    table = labels if labels is not None and labels.suffix.lower() == ".csv" else None
    told = labels_in(labels, classes, "the network") if labels and table is None else ()
    names = tuple(line.strip() for line in told)
    source: ClassFolders | Table
    if table is None and (folders := _class_folders(folder)):
        numbers = _numbers(folders, names, classes, f"{folder} has {len(folders):,} class folders")
        source = ClassFolders(folder, numbers)
    else:
        source = _table(folder, table or _only_table(folder), names, classes)
    total, digest = 0, hashlib.sha256()
    for name, number in source:
        total += 1
        digest.update(f"{name}\0{number}\n".encode())
    if not total:
        raise UsageError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))})")
    shown = names or tuple(_by_number(source.numbers, classes))
    return Dataset(folder, source, total, min(limit or total, total), shown, digest.hexdigest())


def _class_folders(folder: Path) -> list[str]:
    """The folders in it that hold an image."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    return [path.name for path in inner if next(images_below(path), None) is not None]


def _only_table(folder: Path) -> Path:
    tables = sorted(folder.glob("*.csv"))
    if len(tables) == 1:
        return tables[0]
    if next(images_below(folder), None) is None:
        raise UsageError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))})")
    raise UsageError(
        f"{folder} says nothing of classes: it needs a folder for each class, or a CSV file with "
        "image and class in each line (--labels FILE.csv)"
    )


def _table(folder: Path, file: Path, names: Sequence[str], classes: int) -> Table:
    """The table in a CSV file, with the numbers of the classes in it."""
    with reading(file, "a CSV file", UsageError), file.open(newline="") as lines:
        first = [cell.strip().lower() for cell in next(csv.reader(lines), ())]
    if len(first) < 2:
        raise UsageError(f"{file} is no table: each line has an image and its class, comma between")
    header = Path(first[0]).suffix not in SUFFIXES
    image, label = (
        next((at for at, cell in enumerate(first) if header and cell in known), usual)
        for known, usual in ((IMAGE_COLUMNS, 0), (CLASS_COLUMNS, 1))
    )
    table = Table(file, image, label, header, {})
    found = sorted({label for _, label in table.rows()})
    numbers = _numbers(found, names, classes, f"{file.name} names {len(found):,} classes")
    return Table(file, image, label, header, numbers)


def _numbers(found: Sequence[str], names: Sequence[str], classes: int, told: str) -> dict[str, int]:
    """The number of each class that was found, by the names or by the order."""
    numbers = {name: n for name in found if (n := written_whole(name)) is not None}
    if names:
        known = _spellings(names)
        numbers |= {name: known[_plain(name)] for name in found if _plain(name) in known}
        missing = [name for name in found if name not in numbers]
        if missing:
            raise UsageError(f"no line of the labels is {missing[0]!r}, which is a class here")
    elif len(numbers) < len(found) == classes:
        numbers = {name: number for number, name in enumerate(found)}
    elif len(numbers) < len(found):
        raise UsageError(
            f"{told}, the network {classes:,}: give --labels with the names of these, one a line"
        )
    beyond = [name for name, number in numbers.items() if number >= classes]
    if beyond:
        raise UsageError(f"class {beyond[0]} is beyond the network's, which end at {classes - 1}")
    return numbers


def _spellings(names: Sequence[str]) -> dict[str, int]:
    """Class numbers by what may stand for a line: all of it, its first word, or one of its names.

    ImageNet's lists have lines such as "n01440764 tench, Tinca tinca". What stands for several
    lines stands for none; a whole line goes before a part of another.
    """
    whole = {_plain(line): number for number, line in enumerate(names)}
    parts = [
        (_plain(part), number)
        for number, line in enumerate(names)
        for part in {*line.split(maxsplit=1)[:1], *line.split(",")}
    ]
    times = Counter(part for part, _ in parts)
    return {part: number for part, number in parts if times[part] == 1} | whole


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _by_number(numbers: Mapping[str, int], classes: int) -> Iterator[str]:
    named = {number: name for name, number in numbers.items()}
    yield from (named.get(number, str(number)) for number in range(classes))
