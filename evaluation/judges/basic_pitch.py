"""Notes by basic-pitch's network, folded to chroma: key and chords."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from ...audio import Waveform
from ..analysis import MAJOR, MINOR
from .base import Judge

__all__ = ["BasicPitch"]

RATE, HOP = 22050, 256
WINDOW, OVERLAP = 43844, 30 * HOP  # samples that the network reads at a time
LOWEST = 21  # MIDI pitch of its first of 88 notes
CHORD_RATE = 4  # chord decisions a second
SILENT = 0.3  # sum over the notes below which there is no chord
NONE = 24
NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
PROFILES = {"major": MAJOR, "minor": MINOR}


class BasicPitch(Judge):
    """A small network that hears notes in any music; its file is read with onnxruntime, its package is not imported.

    Source: Bittner et al. 2022, arXiv:2203.09893. Chords: the triad with most of the chroma of about a second. Key:
    correlation of the whole chroma with the profiles of Krumhansl and Kessler 1982.
    """

    title, licence, needs = "basic-pitch 0.4 (ONNX)", "Apache-2.0", ("onnxruntime", "basic_pitch")
    install = "pip install 'gen-audio[eval]' && pip install --no-deps basic-pitch"

    def __init__(self) -> None:
        self.check()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(_model()), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.silence = 0.0
        self.silence = float(self.notes(Waveform(np.zeros((1, RATE), np.float32), RATE)).mean())

    def hear(self, waveform: Waveform) -> dict[str, Any]:
        notes = self.notes(waveform)
        chroma = np.stack([notes[:, np.arange(LOWEST, LOWEST + 88) % 12 == pitch].sum(1) for pitch in range(12)], 1)
        return {"key": _key(chroma.sum(0)), "chords": _chords(chroma), "chroma": chroma.mean(0)}

    def notes(self, waveform: Waveform) -> np.ndarray:
        """How surely each note sounds, [frames, 88] at RATE / HOP; 0 where it is as sure as in silence."""
        sound = waveform.mono().resample(RATE).samples[0]
        frames = -(-len(sound) // HOP)
        padded = np.pad(sound, (OVERLAP // 2, WINDOW))
        starts = range(0, len(padded) - WINDOW + 1, WINDOW - OVERLAP)
        batch = np.stack([padded[start : start + WINDOW] for start in starts])[..., None]
        heard = self.session.run(["StatefulPartitionedCall:1"], {self.input: batch})[0]  # [windows, 172, 88]
        return np.maximum(0.0, np.asarray(heard)[:, 15:-15].reshape(-1, 88)[:frames] - self.silence)


def _model() -> Path:
    spec = importlib.util.find_spec("basic_pitch")
    assert spec is not None and spec.submodule_search_locations is not None
    return next((Path(spec.submodule_search_locations[0]) / "saved_models").rglob("*.onnx"))


def _key(total: np.ndarray) -> str | None:
    if total.max(initial=0.0) <= 0 or total.std() < 1e-9:
        return None
    scores = {
        f"{NAMES[tonic]} {mode}": float(np.corrcoef(total, np.roll(profile, tonic))[0, 1])
        for mode, profile in PROFILES.items()
        for tonic in range(12)
    }
    return max(scores, key=lambda name: scores[name])


def _chords(chroma: np.ndarray) -> list[int]:
    rate = RATE / HOP
    window = np.hanning(round(rate) + 2)
    smooth = np.apply_along_axis(lambda row: np.convolve(row, window / window.sum(), "same"), 0, chroma)
    triads = [[(root + step) % 12 for step in (0, third, 7)] for third in (4, 3) for root in range(12)]
    found = []
    for cell in range(int(len(chroma) / rate * CHORD_RATE)):
        frame = smooth[int((cell + 0.5) * rate / CHORD_RATE)]
        found.append(NONE if frame.sum() < SILENT else int(np.argmax([frame[triad].sum() for triad in triads])))
    return found
