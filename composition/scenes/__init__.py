"""What people say who name no style: one file a style, read by `wording.py`."""
