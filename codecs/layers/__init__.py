"""Parts that codecs are built from."""
