"""Name the style of every WAV with a classifier trained on composed audio: FOLDER/judged.json.

Runs in .venv-judges and knows nothing of gen-audio. Usage: judge_styles.py FOLDER, which render.py styles has filled.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import librosa
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FRAME_HZ = 43.07  # 22,050 / 512


def features(path: Path) -> np.ndarray:
    """Timbre (MFCC, contrast and their spread and movement), rhythm (tempogram, onsets by band) and harmony."""
    audio, rate = librosa.load(path, sr=22050)
    mel = librosa.power_to_db(librosa.feature.melspectrogram(y=audio, sr=rate, n_mels=64), ref=np.max)
    mfcc = librosa.feature.mfcc(S=mel, n_mfcc=20)
    contrast = librosa.feature.spectral_contrast(y=audio, sr=rate)
    rows = [f(x, axis=1) for x in (mfcc, np.diff(mfcc), contrast) for f in (np.mean, np.std)]
    onset = librosa.onset.onset_strength_multi(S=mel, sr=rate, channels=[0, 8, 24, 64])
    rows += [onset.mean(1), onset.std(1), np.percentile(onset, 95, axis=1)]
    tempogram = librosa.feature.tempogram(onset_envelope=onset.mean(0), sr=rate)
    lags = np.clip(np.round(FRAME_HZ * 60 / np.geomspace(45, 200, 24)).astype(int), 1, len(tempogram) - 1)
    rows.append(tempogram.mean(1)[lags])
    chroma = librosa.feature.chroma_cqt(y=audio, sr=rate)
    around = np.roll(chroma.mean(1), -int(chroma.mean(1).argmax()))
    rows += [around, np.abs(np.diff(chroma)).mean(1, keepdims=True).mean(0)]
    return np.concatenate(rows)


def table(folder: Path) -> tuple[list[str], np.ndarray, list[str]]:
    files = sorted(folder.glob("*.wav"))
    if not files:
        sys.exit(f"judge_styles.py: {folder} holds no WAV files. Run render.py styles first.")
    names, kept = [f.stem for f in files], folder / "features.npz"
    if not kept.exists() or kept.stat().st_mtime < max(f.stat().st_mtime for f in files):
        np.savez(kept, rows=np.stack([features(f) for f in files]))
    return names, np.load(kept)["rows"], [n.rsplit("-", 1)[0] for n in names]


def main(folder: Path) -> None:
    _, known, styles = table(folder / "composed")
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    guessed = cross_val_predict(classifier, known, styles, cv=folds)
    report = {"composed_accuracy": float(np.mean(guessed == np.array(styles))), "num_composed": len(styles)}
    classifier.fit(known, styles)
    for kind in ("prompt", "noise"):
        names, rows, wanted = table(folder / kind)
        named = classifier.predict(rows)
        report[f"{kind}_accuracy"] = float(np.mean(named == np.array(wanted)))
        report[kind] = {name: str(style) for name, style in zip(names, named, strict=True)}
    (folder / "judged.json").write_text(json.dumps(report, indent=1) + "\n")
    print({k: v for k, v in report.items() if not isinstance(v, dict)})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
