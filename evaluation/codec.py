"""The work behind `gen-audio eval codec`: encode and decode a folder of sounds with several codecs, in one table."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..audio import Waveform
from ..codecs.base import Codec
from ..errors import AudioError, ConfigError
from ..pipeline.checks import check_number
from ..pipeline.codec_commands import check_codec_name, fit
from ..pipeline.codec_weights import fingerprint, load_codec
from ..pipeline.commands import progress_bar
from ..pipeline.outputs import check_writable, staged
from .reconstruction import log_mel_distance, si_sdr

__all__ = ["Result", "evaluate", "find_sounds", "judge", "run", "table"]

JUDGED_AT = 24000  # Hz; every codec is judged on the mono mix at this rate, whatever its own
SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus")
COLUMNS = {
    "codec": "codec",
    "levels": "levels",
    "kbit/s": "kbps",
    "mel distance, nats": "mel_distance",
    "SI-SDR, dB": "si_sdr",
    "encode, x real time": "encode_speed",
    "decode, x real time": "decode_speed",
}


@dataclass(frozen=True)
class Result:
    """What one codec, with so many levels, made of one sound."""

    file: str
    duration: float  # seconds
    mel_distance: float  # nats
    si_sdr: float | None  # dB; None for silence
    bits: float
    encode_seconds: float
    decode_seconds: float


def run(options: Mapping[str, Any]) -> None:
    """Measure, print the table and write the report; `options` are those of the command line."""
    specs = [_read_spec(text) for text in options["codec"]]
    weights = _read_weights(options["weights"] or [], {name for name, _ in specs})
    check_number("seconds", options["seconds"], 0, 3600, above=True)
    reports = _report_paths(options["output"])
    check_writable(reports, overwrite=options["overwrite"])
    files = find_sounds(options["folder"])
    codecs = {name: load_codec(name, weights.get(name)) for name in dict.fromkeys(name for name, _ in specs)}
    jobs = [(name, codecs[name].levels_at(kbps) if kbps else codecs[name].n_q) for name, kbps in specs]
    with progress_bar("measuring") as progress:
        rows = evaluate(codecs, jobs, files, options["seconds"], progress)
    report = {
        "version": __version__,
        "folder": str(options["folder"]),
        "judged_at": JUDGED_AT,
        "threads": torch.get_num_threads(),
        "codecs": rows,
    }
    texts = [json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n", table(report)]
    if reports:
        with staged(reports) as parts:
            for part, text in zip(parts, texts, strict=True):
                part.write_text(text, encoding="utf-8")
    print(texts[0] if options["as_json"] else texts[1], end="")


def evaluate(
    codecs: Mapping[str, Codec],
    jobs: Sequence[tuple[str, int]],
    files: Sequence[Path],
    seconds: float | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Measure codecs on sounds.

    Args:
        codecs: by name, in eval mode.
        jobs: (name of a codec, levels), in the order of the rows.
        files: sounds; each is judged on its mono mix.
        seconds: how much of each to take, from its start; None for all.

    Returns:
        One row a job: name, levels, licence and hash of the weights, the means, and each file's result.
    """
    rows = []
    for number, (name, levels) in enumerate(jobs):
        codec, results = codecs[name], []
        for index, file in enumerate(files):
            waveform = Waveform.read(file)
            if seconds is not None:
                cut = max(1, round(seconds * waveform.sample_rate))
                waveform = Waveform(waveform.samples[:, :cut], waveform.sample_rate)
            if not index:
                judge(codec, levels, Waveform(waveform.samples[:, :8000], waveform.sample_rate), file.name)  # warm up
            results.append(judge(codec, levels, waveform, file.name))
            progress(number * len(files) + index + 1, len(jobs) * len(files))
        facts = {"licence": codec.public.licence if codec.public else "ours", "weights_sha256": fingerprint(codec)}
        rows.append({"codec": name, "levels": levels, **facts, **_means(results), "files": [*map(asdict, results)]})
    return rows


@torch.inference_mode()
def judge(codec: Codec, levels: int, waveform: Waveform, name: str) -> Result:
    """Encode and decode one sound, and compare the mono mixes at JUDGED_AT."""
    fitted, _ = fit(waveform, codec, name)
    length = fitted.samples.shape[1]
    start = time.perf_counter()
    codes = codec.encode(torch.from_numpy(fitted.samples)[None], levels)
    middle = time.perf_counter()
    decoded = torch.cat(list(codec.decode_stream(codes)), -1)[0, :, :length]
    end = time.perf_counter()
    original = waveform.mono().resample(JUDGED_AT).samples[0]
    again = Waveform(decoded.numpy(), codec.sample_rate).mono().resample(JUDGED_AT).samples[0]
    common = min(len(original), len(again))  # resampling there and back may round by a sample
    pair = torch.from_numpy(original[:common]), torch.from_numpy(again[:common])
    return Result(
        file=name,
        duration=waveform.duration,
        mel_distance=log_mel_distance(*pair, JUDGED_AT),
        si_sdr=si_sdr(*pair),
        bits=codec.num_bits(codes.shape[-1], levels),
        encode_seconds=middle - start,
        decode_seconds=end - middle,
    )


def table(report: Mapping[str, Any]) -> str:
    """The means as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for row in report["codecs"]:
        cells = [row[key] for key in COLUMNS.values()]
        texts = ["-" if cell is None else f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append("| " + " | ".join(texts) + " |")
    count, total = len(report["codecs"][0]["files"]), sum(f["duration"] for f in report["codecs"][0]["files"])
    lines.append(
        f"\n{count} sounds, {total:.0f} s, each resampled and mixed as the codec needs it, judged as mono at "
        f"{report['judged_at']} Hz; "
        f"{report['threads']} threads, gen-audio {report['version']}.\n"
    )
    return "\n".join(lines)


def _means(results: Sequence[Result]) -> dict[str, float | None]:
    """Quality as the mean over the files, rates over all of their seconds."""
    total = sum(result.duration for result in results)
    heard = [result.si_sdr for result in results if result.si_sdr is not None]
    return {
        "kbps": sum(result.bits for result in results) / total / 1000,
        "mel_distance": sum(result.mel_distance for result in results) / len(results),
        "si_sdr": sum(heard) / len(heard) if heard else None,
        "encode_speed": total / max(1e-9, sum(result.encode_seconds for result in results)),
        "decode_speed": total / max(1e-9, sum(result.decode_seconds for result in results)),
    }


def _read_spec(text: str) -> tuple[str, float | None]:
    """Read "encodec_24khz:6" as a name and kbit/s."""
    name, colon, kbps = text.partition(":")
    check_codec_name(name)
    if not colon:
        return name, None
    try:
        value = float(kbps)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"--codec is '{text}'; behind the colon stand kbit/s, such as encodec_24khz:6.")
    return name, value


def _read_weights(texts: Sequence[str], names: set[str]) -> dict[str, str]:
    """Read "encodec_24khz=PATH" of each text."""
    found = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or not path:
            raise ConfigError(f"--weights is '{text}'; write a codec and a path, such as encodec_24khz=FILE.")
        if name not in names:
            raise ConfigError(f"--weights is '{text}', but no --codec is '{name}'. Add it, or leave the weights out.")
        found[name] = path
    return found


def _report_paths(output: Path | None) -> list[Path]:
    """REPORT, REPORT.json and REPORT.md all mean the pair REPORT.json and REPORT.md."""
    if output is None:
        return []
    stem = output.with_suffix("") if output.suffix.lower() in (".json", ".md") else output
    return [stem.with_name(stem.name + suffix) for suffix in (".json", ".md")]


def find_sounds(folder: Path) -> list[Path]:
    """The sound files below a folder, sorted."""
    if not folder.is_dir():
        raise AudioError(f"'{folder}' is no folder. Give one with sound files in it.")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUNDS and path.is_file())
    if not found:
        raise AudioError(f"'{folder}' holds no sound files. Put some there: {', '.join(SOUNDS)}.")
    return found
