"""What runs the steps of a language model: `reference` (PyTorch, with any sampler) or `native` (C++, compiled here).

Every executor makes the same codes up to rounding; the loop in generate.py does not know which one it has.
"""
