"""How convolutions pad: PyTorch's way, TensorFlow's, or not at all."""

from pathlib import Path

import pytest

from onnx2mvit import inspect
from onnx2mvit.ir.window import same_pads, spans
from tests.support.graphs import model, save
from tests.support.texts import Text, conv, every, kinds

EVEN, ODD = "float[2,8,8,8]", "float[2,8,9,9]"
STRIDE = "strides=[2,2]"
SAME = 'auto_pad="SAME_UPPER"'


def paddings(text: Text, folder: Path, image: str = EVEN) -> list[str | None]:
    return [block.padding for block in every(text.lifted(folder, image=image), "ConvBnAct")]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "expected"),
    [
        (8, 3, 1, 1, (1, 1)),
        (8, 3, 2, 1, (0, 1)),
        (9, 3, 2, 1, (1, 1)),
        (8, 5, 2, 1, (1, 2)),
        (9, 5, 2, 1, (2, 2)),
        (8, 2, 1, 1, (0, 1)),
        (8, 3, 1, 2, (2, 2)),
        (8, 4, 4, 1, (0, 0)),
        (9, 4, 4, 1, (1, 2)),
        (9, 1, 2, 1, (0, 0)),
        (8, 1, 3, 1, (0, 0)),
    ],
)
def test_same(
    size: int, kernel: int, stride: int, dilation: int, expected: tuple[int, int]
) -> None:
    assert same_pads([size], [stride], spans([kernel], [dilation])) == (expected,)


@pytest.mark.parametrize(
    ("text", "image", "expected"),
    [
        (conv("x", "y", 4, 8, attrs=STRIDE), EVEN, None),
        (conv("x", "y", 4, 8, attrs=STRIDE), ODD, None),
        (conv("x", "y", 4, 8, attrs=f"{SAME}, {STRIDE}"), EVEN, "same"),
        (conv("x", "y", 4, 8, attrs=f"{SAME}, {STRIDE}"), ODD, "same"),  # as at other sizes
        (conv("x", "y", 8, 8, 5, attrs=f"{SAME}, {STRIDE}", group=8), EVEN, "same"),
        (conv("x", "y", 4, 8, 2, attrs=SAME), EVEN, "same"),
        (conv("x", "y", 4, 8, attrs="pads=[0,0,1,1], strides=[2,2]"), EVEN, "same"),
        (conv("x", "y", 4, 8, attrs="pads=[0,1,1,1], strides=[2,2]"), "float[2,8,8,9]", "same"),
        (conv("x", "y", 4, 8, attrs="pads=[0,0,0,0]"), EVEN, "valid"),
        (conv("x", "y", 4, 8, 4, attrs="pads=[0,0,0,0], strides=[4,4]"), EVEN, "valid"),
        (conv("x", "y", 4, 8, 2, attrs="pads=[0,0,0,0], strides=[2,2]"), ODD, "valid"),
    ],
)
def test_what_a_convolution_does(
    tmp_path: Path, text: Text, image: str, expected: str | None
) -> None:
    assert paddings(text, tmp_path, image) == [expected]


TWO = conv("x", "a", 4, 8, attrs=STRIDE) + conv("a", "b", 4, 4)


@pytest.mark.parametrize("image", [EVEN, ODD])
def test_what_fits_both_is_pytorchs(tmp_path: Path, image: str) -> None:
    """At 9×9 and 5×5 pixels a stride of 2 pads alike in both."""
    text = TWO + conv("b", "y", 4, 4, attrs=STRIDE if image == ODD else "")
    assert paddings(text, tmp_path, image) == [None, None, None]


def test_what_fits_both_is_tensorflows_where_another_pads_as_only_that(tmp_path: Path) -> None:
    text = TWO + conv("b", "c", 4, 4, 2, attrs="pads=[0,0,0,0]") + conv("c", "d", 4, 4, 1)
    text += conv("d", "y", 4, 4, attrs="pads=[0,0,1,1], strides=[2,2]")
    *every_one, pixel, last = every(text.lifted(tmp_path, image=ODD), "ConvBnAct")
    # 9×9 → 5×5 → 5×5 → 4×4 without padding → 4×4 → 2×2
    assert [block.padding for block in every_one] == ["same", "same", "valid"]
    assert (pixel.params.get("padding", "none at all"), last.padding) == ("none at all", "same")


def test_what_only_pytorch_does_stays_so_beside_tensorflows(tmp_path: Path) -> None:
    text = conv("x", "a", 4, 8, attrs=STRIDE)
    text += conv("a", "y", 4, 4, attrs=f"{SAME}, {STRIDE}")
    assert paddings(text, tmp_path) == [None, "same"]


def test_even_kernels_without_a_stride_are_padded_at_the_end_by_both(tmp_path: Path) -> None:
    text = conv("x", "a", 4, 8, attrs=STRIDE) + conv("a", "y", 4, 4, 2, attrs="pads=[0,0,1,1]")
    assert paddings(text, tmp_path, ODD) == [None, "same"]


def test_a_file_of_open_size_was_frozen_at_none(tmp_path: Path) -> None:
    """Its numbers hold for every size, odd ones too."""
    text = conv("x", "a", 4, 8, attrs=STRIDE) + conv("a", "b", 4, 4, attrs="pads=[1,1,1,1]")
    text += conv("b", "y", 4, 4, attrs="pads=[0,1,1,1], strides=[2,2]")
    body = f"g (float[2,8,h,w] x) => (float y) {{ {text.nodes} }}"
    network = inspect(save(model(body, **text.weights), tmp_path), size=(43, 57))
    assert every(network, "ConvBnAct")[0].padding is None


@pytest.mark.parametrize("pads", ["[0,0,1,1]", "[1,1,2,2]", "[2,1,0,1]"])
def test_a_file_of_open_size_pads_by_its_numbers_at_every_size(tmp_path: Path, pads: str) -> None:
    """Hugging Face's MobileNetV2 and EfficientNet pad at the end alone, whatever the size."""
    text = conv("x", "y", 4, 8, attrs=f"pads={pads}, strides=[2,2]")
    body = f"g (float[2,8,h,w] x) => (float[2,4,a,b] y) {{ {text.nodes} }}"
    path = save(model(body, **text.weights), tmp_path)
    top, left, bottom, right = map(int, pads[1:-1].split(","))
    for size in ((64, 32), (43, 57)):
        network = inspect(path, size=size)
        assert network.unrecognised == ()
        (block,) = every(network, "ConvBnAct")
        assert block.padding == ((top, bottom), (left, right))


def test_a_single_pixel_is_not_padded_by_the_numbers_of_others(tmp_path: Path) -> None:
    text = conv("x", "a", 4, 8, 1, attrs="pads=[0,0,1,1]") + conv("a", "b", 4, 4, 1)
    body = f"g (float[2,8,h,w] x) => (float[2,4,a,b] b) {{ {text.nodes} }}"
    network = inspect(save(model(body, **text.weights), tmp_path))
    assert [node.op for node in network.unrecognised] == ["Conv"]
    (pixel,) = every(network, "ConvBnAct")
    assert pixel.params.get("padding", "none at all") == "none at all"


def test_padding_at_the_end_alone_does_not_make_it_tensorflows(tmp_path: Path) -> None:
    text = conv("x", "a", 4, 8) + conv("a", "y", 4, 4, attrs="pads=[1,1,2,2]")
    network = text.lifted(tmp_path)
    assert [block.padding for block in every(network, "ConvBnAct")] == [None]
    assert [node.op for node in network.unrecognised] == ["Conv"]


def test_zeros_around_an_image_are_tensorflows_padding(tmp_path: Path) -> None:
    pads = {"sides": [0, 0, 0, 0, 0, 0, 1, 1]}
    text = Text("p = Pad(x, sides)\n", pads) + conv(
        "p", "y", 4, 8, attrs="pads=[0,0,0,0], strides=[2,2]"
    )
    assert paddings(text, tmp_path) == ["same"]
    assert kinds(text.lifted(tmp_path)) == {"ConvBnAct", "Conv2D"}
