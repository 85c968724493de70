"""Stage five, build: the emitted module is imported and its weights are loaded.

In: a folder that `convert` wrote. Out: `keras.Model`. Begin with `build`.
"""
