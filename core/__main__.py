"""python -m gen_audio."""

from .pipeline.cli import main

if __name__ == "__main__":
    main()
