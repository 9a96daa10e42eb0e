"""Stands in for xformers where audiocraft imports it; with its attention set to "torch" it calls `unbind` alone."""
