"""Stage four, emit: the network is written as one Python module in the style of keras.applications.

In: `Network`. Out: source text. Begin with `emit`; `model_function` writes the function of the
whole model, `functions` those of its blocks.
"""
