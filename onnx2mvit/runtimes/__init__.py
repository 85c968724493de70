"""Networks that run: onnxruntime, Keras, LiteRT, SavedModel; their images, and comparisons.

In: a file or a model, and images. Out: arrays. Begin with `runner`.
"""
