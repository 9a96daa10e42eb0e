"""What runs the steps of a language model: `reference` (PyTorch), `native` (C++, compiled here), `graph` (on a GPU).

Every executor makes the same codes up to rounding; the loop in generate.py does not know which one it has.
"""
