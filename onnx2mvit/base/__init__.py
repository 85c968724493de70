"""What every folder may import, and what knows neither a graph nor a model.

In and out: plain values. `numbers` and `json_text` write them as a person would, `quiet` and
`collector` keep libraries and Python's collector out of the way, `backend` and `optional` import
packages when they are needed, `versions` says which they are, `suggest` which name was meant,
`output` and `user_files` have folders and files appear whole or not at all, by what `atomic_swap`
can do on Linux.
"""
