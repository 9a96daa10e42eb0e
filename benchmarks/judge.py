"""Judge every WAV of some folders: key, tempo, beats and chords, into `judged.json` of each folder.

Runs in .venv-judges and knows nothing of gen-audio. Usage: judge.py FOLDER...
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import essentia
import essentia.standard as es
import librosa
import numpy as np
import onnxruntime

essentia.log.infoActive = essentia.log.warningActive = False
NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
WINDOW, OVERLAP, HOP = 43844, 30 * 256, 256  # samples at 22,050 Hz that basic-pitch reads at a time
CHORD_HZ = 4  # chord decisions a second


def key_and_tempo(path: Path) -> dict[str, Any]:
    """Key by the profile `shaath`, tempo and beats by RhythmExtractor2013; all of essentia, at 44.1 kHz."""
    audio = es.MonoLoader(filename=str(path), sampleRate=44100)()
    tonic, scale, strength = es.KeyExtractor(profileType="shaath")(audio)
    tempo, beats, _, _, _ = es.RhythmExtractor2013(method="multifeature")(audio)
    return {
        "key": f"{tonic} {scale}",
        "key_strength": round(float(strength), 3),
        "tempo": round(float(tempo), 2),
        "beats": [round(float(b), 3) for b in beats],
    }


class Pitches:
    """The note posteriors of basic-pitch, read with onnxruntime."""

    def __init__(self) -> None:
        folder = Path(importlib.util.find_spec("basic_pitch").submodule_search_locations[0])
        model = next((folder / "saved_models").rglob("*.onnx"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def __call__(self, path: Path) -> np.ndarray:
        """Note posteriors [frames, 88] at 22,050 / 256 Hz."""
        audio, _ = librosa.load(path, sr=22050)
        step, frames = WINDOW - OVERLAP, len(audio) // HOP
        audio = np.pad(audio, (OVERLAP // 2, WINDOW))
        windows = [audio[i : i + WINDOW] for i in range(0, len(audio) - WINDOW + 1, step)]
        batch = np.stack(windows)[..., None].astype(np.float32)
        notes = self.session.run(["StatefulPartitionedCall:1"], {self.input: batch})[0]  # [windows, 172, 88]
        return notes[:, 15:-15].reshape(-1, 88)[:frames]


def chords(notes: np.ndarray) -> list[int]:
    """A triad for every quarter of a second: 0..11 major, 12..23 minor, 24 none."""
    pitch_class = (np.arange(88) + 9) % 12
    chroma = np.stack([notes[:, pitch_class == pc].sum(1) for pc in range(12)], 1)
    rate = 22050 / 256
    smooth = np.hanning(round(rate) + 2)
    chroma = np.apply_along_axis(lambda x: np.convolve(x, smooth / smooth.sum(), "same"), 0, chroma)
    triads = [[(root + step) % 12 for step in (0, third, 7)] for third in (4, 3) for root in range(12)]
    found = []
    for i in range(int(len(chroma) / rate * CHORD_HZ)):
        frame = chroma[int((i + 0.5) * rate / CHORD_HZ)]
        if frame.sum() < 0.3:
            found.append(24)
            continue
        found.append(int(np.argmax([frame[t].sum() for t in triads])))
    return found


def main(folders: list[str]) -> None:
    pitches = Pitches()
    for folder in map(Path, folders):
        files = sorted(folder.glob("*.wav"))
        if not files:
            sys.exit(f"judge.py: {folder} holds no WAV files. Run render.py first.")
        judged = {f.stem: key_and_tempo(f) | {"chords": chords(pitches(f))} for f in files}
        (folder / "judged.json").write_text(json.dumps(judged, indent=1) + "\n")
        print(f"{folder}: {len(files)} judged", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
