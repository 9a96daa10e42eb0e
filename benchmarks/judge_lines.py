"""Judge sounds one after the other: for each path on a line of input, tempo, beats and chords by madmom as JSON.

Runs in .venv-judges and knows nothing of gen-audio. For `gen-audio eval`:
GEN_AUDIO_JUDGE=".venv-judges/bin/python benchmarks/judge_lines.py"

madmom's code is BSD, its models are CC BY-NC-SA: they judge here and are part of nothing. The beats are those of a
recurrent network and a hidden Markov model over bars (Böck et al. 2016, ISMIR), the chords those of a network's chroma
(Korzeniowski and Widmer 2016, arXiv:1612.05065).
"""

from __future__ import annotations

import json
import sys

import numpy as np
from madmom.audio.chroma import DeepChromaProcessor
from madmom.features.chords import DeepChromaChordRecognitionProcessor
from madmom.features.downbeats import DBNDownBeatTrackingProcessor, RNNDownBeatProcessor

NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
NO_CHORD = 24
CHORD_HZ = 4  # chord decisions a second


class Judge:
    """The networks, loaded once."""

    def __init__(self) -> None:
        self.beat_activations = RNNDownBeatProcessor()
        self.bars = DBNDownBeatTrackingProcessor(beats_per_bar=[3, 4], min_bpm=50, fps=100)
        self.chroma, self.chords = DeepChromaProcessor(), DeepChromaChordRecognitionProcessor()

    def __call__(self, path: str) -> dict[str, float | list[float] | list[int] | None]:
        """Tempo in BPM (None with fewer than three beats), beats in seconds, a triad for every quarter second."""
        beats = self.bars(self.beat_activations(path))[:, 0]
        tempo = 60 / float(np.median(np.diff(beats))) if len(beats) > 2 else None
        return {"tempo": tempo, "beats": [round(float(beat), 3) for beat in beats], "chords": self.triads(path)}

    def triads(self, path: str) -> list[int]:
        """0..11 major, 12..23 minor, 24 none."""
        spans = self.chords(self.chroma(path))
        found = []
        for cell in range(int(max((end for _, end, _ in spans), default=0.0) * CHORD_HZ)):
            second = (cell + 0.5) / CHORD_HZ
            name = next((label for start, end, label in spans if start <= second < end), "N")
            root, _, kind = name.partition(":")
            found.append(NO_CHORD if name == "N" else NAMES.index(root) + 12 * (kind == "min"))
        return found


if __name__ == "__main__":
    judge = Judge()
    for line in sys.stdin:
        print(json.dumps(judge(line.rstrip("\n"))), flush=True)
