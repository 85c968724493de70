# %% [markdown]
# # Hard swish for SiLU, by distillation
#
# LiteRT computes SiLU as two operators, each a way through memory, and hard swish as one. This
# notebook swaps one for the other in a trained network, and lets the swapped network learn from the
# trained one, on images without labels.
#
# The network is MobileViT-XXS with **seeded random weights**, which learns handwritten digits here
# first, so that all runs without a model hub. A network of one's own is the teacher elsewhere.

# %%
import tempfile
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import onnx2mvit
from onnx2mvit.builder.build import build
from onnx2mvit.exporter import export

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Two functions
#
# Hard swish is `x * relu6(x + 3) / 6`. It is never farther from SiLU than 0.143, but it is another
# function, and dozens of layers have it.

# %%
x = np.linspace(-6, 6, 601).astype("float32")
silu, hard = (keras.ops.convert_to_numpy(f(x)) for f in (keras.ops.silu, keras.ops.hard_silu))
figure, axis = plt.subplots(figsize=(6, 2.6))
axis.plot(x, silu, label="SiLU")
axis.plot(x, hard, label="hard swish")
axis.plot(x, hard - silu, ":", color="grey", label="difference")
axis.legend()
plt.show()
print(f"never farther apart than {np.abs(hard - silu).max():.3f}")

# %% [markdown]
# ## Convert
#
# `convert` proves the network as the file has it, with SiLU, and then makes the default of the
# module hard swish. The warning says how far that is from the file. Layers keep their names and
# weights, and `activation="silu"` makes the network of the file again.

# %%
exported = export(
    "mobilevit_xxs", folder / "mobilevit_xxs.onnx", weights="random", image_size=(32, 32)
)
converted = onnx2mvit.convert(exported.path, folder / "keras_out", hard_activations=True)
print(f"verdict, with SiLU: {converted.report['verification']['verdict']}")
print(*converted.warnings, sep="\n")

# %% [markdown]
# ## The teacher
#
# Ten classes, SiLU, and 1,347 digits with labels. A quarter of all digits is held out: neither
# network learns from it.

# %%
digits = load_digits()
scans = [np.uint8(image * (255 / 16)) for image in digits.images]
images = onnx2mvit.preprocess(scans, size=32, crop=None)
train_x, test_x, train_y, test_y = train_test_split(
    images, digits.target, test_size=0.25, random_state=0, stratify=digits.target
)


def falling(rate, epochs, batch=32):
    """Adam, whose rate rises for a tenth of the steps and falls to zero."""
    steps = epochs * -(-len(train_x) // batch)
    return keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(
            0.0, steps, warmup_target=rate, warmup_steps=steps // 10
        )
    )


# %%
keras.utils.set_random_seed(0)
teacher = build(converted.folder, num_classes=10, activation="silu")
teacher.compile(
    optimizer=falling(4e-3, 8),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
with onnx2mvit.fast_training(teacher):
    teacher.fit(train_x, train_y, batch_size=32, epochs=8, verbose=2)

# %% [markdown]
# ## The swap
#
# The student has the same layers, so the teacher's weights fit it as they are. Of the held-out
# digits it is said how many are recognised, and how many get the teacher's answer.

# %%
answers = teacher.predict(test_x, verbose=0).argmax(-1)


def say(name, model):
    found = model.predict(test_x, verbose=0).argmax(-1)
    recognised, same = (found == test_y).mean(), (found == answers).mean()
    print(f"{name:<22} {recognised:6.1%} recognised, {same:6.1%} as the teacher")
    return same


student = build(converted.folder, num_classes=10)
student.set_weights(teacher.get_weights())
say("SiLU", teacher)
swapped = say("hard swish, as it is", student)

# %% [markdown]
# ## Distillation
#
# `distill` trains the student to answer as the teacher does: it sees the training images, and no
# label. What the three MobileViT blocks give is to be as the teacher's too.

# %%
with onnx2mvit.fast_training(student):
    history = onnx2mvit.distill(
        student,
        teacher,
        train_x,
        blocks=["encoder.layer.2", "encoder.layer.3", "encoder.layer.4"],
        optimizer=falling(1e-3, 8),
        epochs=8,
        batch_size=32,
        validation_data=test_x,
        verbose=2,
    ).history

# %%
figure, axis = plt.subplots(figsize=(6, 2.6))
axis.plot(range(1, 9), history["loss"], label="training")
axis.plot(range(1, 9), history["val_loss"], label="held out")
axis.set(xlabel="epoch", title="how far from the teacher", yscale="log")
axis.legend()
plt.show()

# %%
say("SiLU", teacher)
distilled = say("hard swish, distilled", student)
assert distilled > swapped

# %% [markdown]
# ## On a phone
#
# Time does not depend on what was learnt, but on the size: both networks are built for images of
# 256×256 and written as LiteRT files, whose calls take turns on one thread. What is printed is the
# ratio of their times, the median of the rounds and its range. On a busy machine, as where this was
# run, the range is wide and the ratio says little: CPU seconds, 0.91, are in
# docs/howto/hard_activations.md.

# %%
from ai_edge_litert.interpreter import Interpreter

from onnx2mvit.deployment.litert import operators
from onnx2mvit.runtimes.timing import interleave

calls = {}
for activation in ("silu", "hard_silu"):
    large = build(
        converted.folder, input_shape=(256, 256, 3), num_classes=10, activation=activation
    )
    large.set_weights((student if activation == "hard_silu" else teacher).get_weights())
    file = folder / f"{activation}.tflite"
    large.export(file, format="litert", verbose=False)
    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    interpreter.set_tensor(image["index"], np.zeros(image["shape"], "float32"))
    calls[activation] = interpreter.invoke
    used = operators(file.read_bytes())
    print(f"{activation}: {used['LOGISTIC']} LOGISTIC, {used['HARD_SWISH']} HARD_SWISH")

# %%
timed = interleave(calls, rounds=8, timed=15)
ratio = timed["hard_silu"].ratio(timed["silu"])
print(
    f"hard swish takes {ratio.median:.2f} ({ratio.least:.2f}-{ratio.greatest:.2f}) of SiLU's time"
)
