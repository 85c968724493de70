"""The arguments of the model function, in the manner of keras.applications."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Literal, NamedTuple

from onnx2mvit.ir.image_size import ImageSize, multiples
from onnx2mvit.ir.network import Network
from onnx2mvit.lifter.activation import HARD_SWISH
from onnx2mvit.lifter.head import Head, HeadChoice
from onnx2mvit.lifter.naming import interface_names

# What `check_arguments` takes, and what it gets where the function has no such argument.
CHECKED = {
    "include_top": "False",
    "pooling": "None",
    "classifier_activation": "None",
    "dropout": "0.0",
}
LAYERS = "preprocessing == 'layers'"  # the condition of them in the model function


class Argument(NamedTuple):
    """An argument of the model function: its default, as text, and what it is."""

    name: str
    default: str
    meaning: str


class Signature:
    """The arguments that make sense for a network, and what is checked of them.

    `forwarded` are those that functions of its blocks take, `choice` is about the head, and with
    `hard_activations` there is one for what stands in the place of SiLU.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        head: Head | None,
        choice: HeadChoice,
        image_size: ImageSize | None,
        forwarded: Collection[str],
        hard_activations: bool = False,
    ) -> None:
        outputs = network.graph.outputs
        self.network, self.head, self.choice = network, head, choice
        self.is_image = network.image is not None
        self.separable = head is not None and bool(head.features)
        maps = len(outputs) == 1 and len(outputs[0].shape or ()) in (3, 4)
        self.pools = self.separable or (head is None and maps and self.is_image)
        self.preprocessed = network.image is not None and bool(pixel_layers(network, ""))
        self.arguments = [*self._of_images(image_size), *self._of_head(forwarded)]
        if hard_activations:
            self.arguments.append(Argument("activation", repr(HARD_SWISH), SWAPPED))
        if self.preprocessed:
            self.arguments.append(Argument("preprocessing", "'none'", PREPROCESSING))
        self.arguments += [
            Argument("nested", "True", "False for a flat model, without models for its blocks."),
            Argument("weights", f"'{name}.safetensors'", WEIGHTS),
            Argument("name", repr(name), "that of the model."),
        ]
        self.names = {argument.name for argument in self.arguments}

    def _of_images(self, image_size: ImageSize | None) -> Iterator[Argument]:
        if self.network.image_shape is not None:
            *traced, channels = self.network.image_shape
            size: Sequence[int | None] = image_size if isinstance(image_size, tuple) else traced
            if image_size == "any":
                pairs = zip(traced, self.network.open_size, strict=True)
                size = [None if is_open else length for length, is_open in pairs]
            meaning = "(height, width, channels) of the images; the weights fit any size."
            if self.network.fixed_by is not None:
                meaning = "(height, width, channels): some operations hold for this one alone."
            elif (steps := self.network.size_steps) != (1, 1):
                meaning = (
                    f"(height, width, channels) of the images; the weights fit {multiples(steps)}."
                )
            yield Argument("input_shape", f"({size[0]}, {size[1]}, {channels})", meaning)

    def _of_head(self, forwarded: Collection[str]) -> Iterator[Argument]:
        if self.head is not None:
            own = self.head.num_classes
            classes = self.choice if isinstance(self.choice, int) else own
            meaning = f"another number than {own} makes a fresh head on the same weights."
            yield Argument("num_classes", str(classes), meaning)
        if self.separable:
            yield Argument("include_top", str(self.choice != "none"), INCLUDE_TOP)
        if self.pools:
            yield Argument("pooling", "None", POOLING)
        if self.head is not None and self.head.logits and "classifier_activation" in forwarded:
            yield Argument("classifier_activation", "None", ACTIVATION)
        if "dropout" in forwarded:
            yield Argument("dropout", "0.0", DROPOUT)

    def defaults(self) -> str:
        """The arguments as they stand in the function's first line."""
        return ", ".join(f"{argument.name}={argument.default}" for argument in self.arguments)

    def docstring(self) -> str:
        """What it makes, of what, and its arguments."""
        answer = "features"
        if self.head is not None:
            answer = "logits" if self.head.logits else "what its last layers make of logits"
        own = ["Args:"]
        own += [f"    {argument.name}: {argument.meaning}" for argument in self.arguments]
        own += ["", "Raises:", f"    ValueError: {REFUSED}"]
        inputs, outputs = (_interface(self.network, kind) for kind in ("input", "output"))
        first = f"From {inputs} to {answer}: {outputs}."
        return "\n    ".join([first, "", *own, ""])

    def checks(self, by_size: bool) -> Iterator[str]:
        """Lines that refuse arguments; `by_size` says that a block must know its image's size."""
        if not self.names.isdisjoint(CHECKED):
            values = [name if name in self.names else value for name, value in CHECKED.items()]
            yield f"check_arguments({', '.join(values)})"
        if self.preprocessed:
            yield "if preprocessing not in ('none', 'layers'):"
            yield "    raise ValueError(\"preprocessing is 'none' or 'layers'\")"
        if self.is_image and self.network.fixed_by is not None:
            yield f"if tuple(input_shape[:2]) != {self.network.traced_size}:"
            yield "    raise ValueError('some operations hold for the default input_shape alone')"
        elif self.is_image and by_size:
            yield "if None in input_shape:"
            yield f"    raise ValueError({ANY_SIZE!r})"


def pixel_layers(network: Network, x: str) -> list[str]:
    """The lines that make of RGB from 0 to 255 in the variable `x` what the network takes.

    There are none where nothing is known of that, or nothing is to be done.
    """
    how, image = network.preprocessing, network.image
    if how.is_assumed or image is None:
        return []
    lines = []
    if image.dtype is None or image.dtype.kind == "f":
        if how.scale != 1:
            lines.append("layers.Rescaling(PREPROCESSING['scale'], name='rescaling')({x})")
        if any(how.mean) or set(how.std) != {1}:
            variance = "[std**2 for std in PREPROCESSING['std']]"
            lines.append(
                f"layers.Normalization(mean=PREPROCESSING['mean'], variance={variance}, "
                "name='normalization')({x})"
            )
    if how.channels == "bgr":
        lines.append("ops.flip({x}, axis=-1)")
    return [f"{x} = {line.format(x=x)}" for line in lines]


PREPROCESSING = '"layers" to take RGB from 0 to 255, and begin with what it wants.'
REFUSED = "arguments do not go together, or the weights do not fit."
INCLUDE_TOP = "False for the features that the head reads, without it."
POOLING = 'of those features: None, or "avg" or "max" for a vector.'
ACTIVATION = '"softmax" for probabilities; None for logits.'
SWAPPED = "what stands in the place of SiLU, by Keras's name; the file has 'silu'."
DROPOUT = "a rate, for training: before the head, and in transformer layers."
WEIGHTS = "a safetensors file, beside this module or anywhere; None for a fresh model."
ANY_SIZE = "height and width must be known: or convert with --image-size any"


def _interface(network: Network, kind: Literal["input", "output"]) -> str:
    """The names and the axes of what the model takes, or of what it gives."""
    graph = network.graph
    values = graph.inputs if kind == "input" else graph.outputs
    told = zip(interface_names(network, kind), values, strict=True)
    return ", ".join(f"{name} ({', '.join(network.axes_in_keras(value))})" for name, value in told)
