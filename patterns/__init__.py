"""The blocks: a file for each paper, with what a block looks like in ONNX beside what it becomes.

The Keras functions are never called from here: their source is written into the emitted module,
which is the only way in which a model is made. So nothing here imports Keras at run time.
"""
