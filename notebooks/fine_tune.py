# %% [markdown]
# # Fine-tune a converted network
#
# From a PyTorch network to a tuned LiteRT file: export MobileViT-XXS to ONNX, convert it to Keras,
# give it a head for ten classes, train it on handwritten digits, and put the result on a phone.
#
# The weights are **seeded random ones**, so that this runs without a model hub: the network learns
# all that it knows here, from 1,347 images. With `weights="hub"` it starts from the published
# weights instead.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import onnx2mvit
from onnx2mvit.exporter import export

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Convert
#
# The digits are small, so the network is exported for images of 32×32, the smallest that it takes.
# Batch normalization is kept as layers of its own, which training needs. `convert` compares every
# block with onnxruntime before it hands over the model.

# %%
exported = export(
    "mobilevit_xxs", folder / "mobilevit_xxs.onnx", weights="random", image_size=(32, 32)
)
converted = onnx2mvit.convert(exported.path, folder / "keras_out")
print(f"{exported.path.name}: weights {exported.weights}")
print(f"verdict: {converted.report['verification']['verdict']}")

# %% [markdown]
# ## The images
#
# Scikit-learn ships 1,797 handwritten digits of 8×8 pixels. `preprocess` enlarges them and makes
# them RGB in [0, 1]. A quarter is held out: the network never learns from it.

# %%
digits = load_digits()
scans = [np.uint8(image * (255 / 16)) for image in digits.images]
images = onnx2mvit.preprocess(scans, size=32, crop=None)
train_x, test_x, train_y, test_y = train_test_split(
    images, digits.target, test_size=0.25, random_state=0, stratify=digits.target
)
print(f"{len(train_x)} images to learn from, {len(test_x)} held out, each {images.shape[1:]}")

figure, axes = plt.subplots(1, 8, figsize=(10, 1.6))
for axis, image, label in zip(axes, train_x, train_y, strict=False):
    axis.imshow(image)
    axis.set_title(label)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## A head for ten classes
#
# `build` makes the model anew from what `convert` wrote, here with ten classes in place of a
# thousand: the head is fresh, all other weights are those of the file. `include_top=False` would
# leave out the head, `dropout=0.1` would put dropout where the paper has it.

# %%
import keras

from onnx2mvit.builder.build import build

keras.utils.set_random_seed(0)
model = build(converted.folder, num_classes=10)
print(f"{model.count_params():,} parameters, answers {model.output_shape}")

# %% [markdown]
# ## Train

# %%
EPOCHS, BATCH, RATE = 8, 32, 4e-3

steps = EPOCHS * -(-len(train_x) // BATCH)
rate = keras.optimizers.schedules.CosineDecay(
    0.0, steps, warmup_target=RATE, warmup_steps=steps // 10
)
model.compile(
    optimizer=keras.optimizers.Adam(rate),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
history = model.fit(
    train_x, train_y, batch_size=BATCH, epochs=EPOCHS, validation_data=(test_x, test_y)
).history

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3))
for axis, name in ((left, "loss"), (right, "accuracy")):
    axis.plot(range(1, EPOCHS + 1), history[name], label="training")
    axis.plot(range(1, EPOCHS + 1), history[f"val_{name}"], label="held out")
    axis.set(xlabel="epoch", title=name)
    axis.legend()
right.axhline(0.95, linestyle=":", color="grey")
plt.show()

# %%
accuracy = history["val_accuracy"][-1]
print(f"{accuracy:.1%} of the held-out images are recognised")
assert accuracy >= 0.95

# %% [markdown]
# ## Onto a phone
#
# Keras writes the tuned model as a LiteRT file, and LiteRT must answer what Keras answers.

# %%
from ai_edge_litert.interpreter import Interpreter

model.export(folder / "digits.tflite", format="litert", verbose=False)
interpreter = Interpreter(str(folder / "digits.tflite"))
runner = interpreter.get_signature_runner()
(argument,) = runner.get_input_details()
answers = np.concatenate(
    [next(iter(runner(**{argument: image[None]}).values())) for image in test_x]
)

# %%
expected = model.predict(test_x, verbose=0)
same = (answers.argmax(-1) == expected.argmax(-1)).mean()
error = np.abs(answers - expected).max() / np.abs(expected).max()
size = (folder / "digits.tflite").stat().st_size / 1e6
print(f"{size:.1f} MB; LiteRT and Keras agree on {same:.1%} of the held-out images")
print(f"the farthest logit is off by {error:.0e} of the largest")
print(f"LiteRT recognises {(answers.argmax(-1) == test_y).mean():.1%} of them")
assert same == 1
