"""Stage six, verify: the Keras model against onnxruntime, block by block and at its outputs.

In: the file, the network, the model. Out: `Verification`. Begin with `verification`.
"""
