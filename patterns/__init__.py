"""The blocks: one file each, with what a block looks like in ONNX beside what it becomes in Keras.

The Keras functions are never called from here: their source is written into the emitted module,
which is the only way in which a model is made. So nothing here imports Keras at run time.
"""
