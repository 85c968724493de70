"""Networks that run: onnxruntime, Keras, LiteRT; the images they are given, and comparisons.

In: a file or a model, and images. Out: arrays. Begin with `reference`.
"""
