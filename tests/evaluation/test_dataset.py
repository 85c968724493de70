"""Images and their classes are found in each of the ways in which people have them, or it is said
what is missing."""

from pathlib import Path

import pytest

from onnx2mvit.errors import UsageError
from onnx2mvit.evaluation.dataset import open_dataset


def touch(folder: Path, *names: str) -> Path:
    """Files of these names; what is in them does not matter here."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def text(folder: Path, name: str, *lines: str) -> Path:
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


def test_class_folders_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    touch(tmp_path, "dog/2.jpg", "dog/in/1.PNG", "cat/b.webp", "cat/a.jpeg", "cat/notes.txt")
    touch(tmp_path, ".cache/x.jpg", "empty/readme.txt")
    found = open_dataset(tmp_path, 2)
    assert list(found) == [
        ("cat/a.jpeg", 0),
        ("cat/b.webp", 0),
        ("dog/2.jpg", 1),
        ("dog/in/1.PNG", 1),
    ]
    assert found.classes == ("cat", "dog")


def test_folders_that_are_numbers_are_these_classes(tmp_path: Path) -> None:
    touch(tmp_path, "7/a.jpg", "12/a.jpg")
    assert list(open_dataset(tmp_path, 1000)) == [("12/a.jpg", 12), ("7/a.jpg", 7)]
    with pytest.raises(UsageError, match="class 12 is beyond the network's, which end at 11"):
        open_dataset(tmp_path, 12)


def test_a_text_of_labels_gives_the_folders_their_numbers(tmp_path: Path) -> None:
    data = touch(tmp_path / "data", "n02/a.jpg", "tiger_cat/b.jpg", "n01/c.jpg", "whale/d.jpg")
    labels = text(
        tmp_path, "names.txt", "n01 tench, Tinca", "Tiger cat", "n02 whale, killer", "n03 whale"
    )
    with pytest.raises(UsageError, match="no line of the labels is 'whale'"):
        open_dataset(data, 4, labels)  # two lines might be meant
    (data / "whale" / "d.jpg").rename(data / "n01" / "d.jpg")
    found = open_dataset(data, 4, labels)
    assert dict(found) == {"n01/c.jpg": 0, "n01/d.jpg": 0, "n02/a.jpg": 2, "tiger_cat/b.jpg": 1}
    assert found.classes[1] == "Tiger cat"
    with pytest.raises(UsageError, match=r"holds 4 labels, the network has 1,000 classes"):
        open_dataset(data, 1000, labels)


@pytest.mark.parametrize(
    "lines",
    [
        ("a.jpg,5", "in/b.jpg,2"),
        ("Image,label", "a.jpg,5", "in/b.jpg,2"),
        ("label,more,file", "5,x,a.jpg", "2,y,in/b.jpg"),
    ],
)
def test_a_flat_folder_goes_by_its_table(tmp_path: Path, lines: tuple[str, ...]) -> None:
    touch(tmp_path, "a.jpg", "in/b.jpg")
    (tmp_path / "in" / "b.jpg").rename(tmp_path / "b.jpg")
    (tmp_path / "in").rmdir()
    text(tmp_path, "labels.csv", *lines)
    assert list(open_dataset(tmp_path, 6)) == [("a.jpg", 5), ("in/b.jpg", 2)]


def test_a_table_may_lie_elsewhere_and_name_its_classes(tmp_path: Path) -> None:
    data = touch(tmp_path / "data", "a.jpg", "b.jpg")
    table = text(tmp_path, "of.csv", "a.jpg,dog", "b.jpg,cat")
    assert list(open_dataset(data, 2, table)) == [("a.jpg", 1), ("b.jpg", 0)]
    with pytest.raises(UsageError, match=r"of.csv names 2 classes, the network 3: give --labels"):
        open_dataset(data, 3, table)
    with pytest.raises(UsageError, match=r"'b\.jpg' names no class"):
        open_dataset(data, 2, text(tmp_path, "short.csv", "a.jpg,1", "b.jpg"))


def test_a_part_is_taken_evenly(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}/{number}.jpg" for name in "ab" for number in range(5)))
    found = open_dataset(tmp_path, 2, limit=4)
    assert (found.total, found.taken) == (10, 4)
    assert sorted(number for _, number in found) == [0, 0, 1, 1]
    batches = list(found.batches(3))
    assert [(each.start, len(each.names)) for each in batches] == [(0, 3), (3, 1)]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder of images"):
        open_dataset(tmp_path / "nowhere", 2)
    with pytest.raises(UsageError, match="holds no images"):
        open_dataset(tmp_path, 2)
    touch(tmp_path, "a.jpg")
    with pytest.raises(UsageError, match="says nothing of classes"):
        open_dataset(tmp_path, 2)
    touch(tmp_path, "cat/a.jpg", "dog/b.jpg")
    with pytest.raises(UsageError, match="2 class folders, the network 1,000: give --labels"):
        open_dataset(tmp_path, 1000)
