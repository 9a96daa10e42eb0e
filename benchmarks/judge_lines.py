"""Judge sounds one after the other: for each path on a line of input, tempo and beats by essentia as JSON.

Runs in .venv-judges and knows nothing of gen-audio. For `gen-audio eval`:
GEN_AUDIO_JUDGE=".venv-judges/bin/python benchmarks/judge_lines.py"
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from judge import key_and_tempo

for line in sys.stdin:
    found = key_and_tempo(Path(line.rstrip("\n")))
    print(json.dumps({name: found[name] for name in ("tempo", "beats")}), flush=True)
