"""The work behind `gen-audio codec encode` and `codec decode`: sound to a codes file and back."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__, registry
from ..errors import AudioError, ConfigError, UnknownNameError
from .checks import check_integer, check_number
from .outputs import FORMATS, check_writable, staged, write_waveform

if TYPE_CHECKING:
    from ..audio import Waveform
    from ..codecs.base import Codec
    from .codes_file import CodesFile

__all__ = ["check_codec_name", "decode", "encode", "fit"]

log = logging.getLogger(__name__)
SUFFIX = ".codes.safetensors"


def check_codec_name(name: str) -> None:
    """Raise UnknownNameError unless there is such a codec; imports none."""
    if name not in registry.names("codecs"):
        raise UnknownNameError("codec", name, registry.names("codecs"))


def encode(options: Mapping[str, Any]) -> None:
    """Encode a sound file; `options` are those of the command line, None where not given."""
    name, source = options["codec"], options["file"]
    check_codec_name(name)
    _check_rate(options["levels"], options["bandwidth"])
    output = _codes_path(source, options["output"])
    if not source.is_file():
        raise AudioError(f"'{source}' does not exist. Give the path of a sound file.")
    check_writable([output], overwrite=options["overwrite"])

    # Everything that can be checked without the codec has been. Only now torch is imported.
    import torch

    from ..audio import Waveform
    from .codec_weights import fingerprint, load_codec
    from .codes_file import CodesFile, save_codes

    waveform = Waveform.read(source)
    codec = load_codec(name, options["weights"])
    kbps = options["bandwidth"]
    levels = codec.check_levels(options["levels"]) if kbps is None else codec.levels_at(kbps)
    waveform, changes = fit(waveform, codec, str(source))
    if changes:
        log.warning("%s: %s, as codec '%s' needs it", source, changes, name)
    start = time.perf_counter()
    with torch.inference_mode():
        codes = codec.encode(torch.from_numpy(waveform.samples)[None], levels)[0]  # [K, T]
    seconds = time.perf_counter() - start
    made = CodesFile.of(codes.numpy(), codec, name, fingerprint(codec), waveform.samples.shape[1])
    with staged([output]) as parts:
        save_codes(parts[0], made)
    kbps = codec.num_bits(codes.shape[1], levels) / made.duration / 1000
    facts = {"levels": levels, "frames": codes.shape[1], "kbps": round(kbps, 3), "sha256": made.weights_sha256}
    said = f"{levels} levels x {codes.shape[1]} frames of {name}, {kbps:.2f} kbit/s"
    _report(output, said, {"codec": name, **facts}, made.duration, seconds, options["as_json"])


def decode(options: Mapping[str, Any]) -> None:
    """Decode a codes file to a sound of exactly the length that was encoded."""
    source, output = options["codes"], options["output"]
    if output is None:
        output = Path(f"{_stem(source)}.wav")
    format = output.suffix[1:].lower()
    if format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS)
    check_writable([output], overwrite=options["overwrite"])
    from .codes_file import load_codes

    file = load_codes(source)
    check_codec_name(file.codec)
    if output.resolve() == source.resolve():
        raise ConfigError(f"Writing '{output}' would replace the codes. Choose another --output.")
    from .codec_weights import fingerprint, load_codec

    codec = load_codec(file.codec, options["weights"])
    file.check(codec, file.codec, fingerprint(codec))
    start = time.perf_counter()
    waveform = _play(file, codec)
    seconds = time.perf_counter() - start
    tags = {"software": f"gen-audio {__version__}", "comment": f"decoded from {file.levels} levels of {file.codec}"}
    with staged([output]) as parts:
        write_waveform(_within_full_scale(waveform, output), parts[0], format, tags)
    said = f"{file.levels} levels of {file.codec}, {file.sample_rate} Hz, {file.channels} channels"
    facts = {"codec": file.codec, "levels": file.levels, "sample_rate": file.sample_rate, "channels": file.channels}
    _report(output, said, facts, file.duration, seconds, options["as_json"])


def _check_rate(levels: int | None, bandwidth: float | None) -> None:
    if levels is not None and bandwidth is not None:
        raise ConfigError("--levels and --bandwidth are both given; each settles the other. Give one of them.")
    check_integer("levels", levels, 1, 1000)
    check_number("bandwidth", bandwidth, 0, 1000, unit=" kbit/s", above=True)


def _play(file: CodesFile, codec: Codec) -> Waveform:
    """Decode all codes of a file to the length that it states."""
    import numpy as np
    import torch

    from ..audio import Waveform
    from .commands import progress_bar

    done, pieces = 0, []
    with torch.inference_mode(), progress_bar("decoding") as progress:
        for piece in codec.decode_stream(torch.from_numpy(file.codes)[None]):
            pieces.append(piece[0].numpy())
            done += piece.shape[-1]
            progress(done, file.num_audio_samples)
    return Waveform(np.concatenate(pieces, 1)[:, : file.num_audio_samples], file.sample_rate)


def fit(waveform: Waveform, codec: Codec, name: str) -> tuple[Waveform, str]:
    """Bring a sound to the rate and channels of a codec, and say what that changed; "" for nothing.

    Args:
        name: of the sound, for errors.

    Raises:
        AudioError: no samples, samples that are not finite, or more channels than a stereo codec can hold.
    """
    import numpy as np

    from ..audio import Waveform

    if not waveform.samples.size:
        raise AudioError(f"'{name}' holds no samples. Give a sound that is not empty.")
    if not np.isfinite(waveform.samples).all():
        raise AudioError(f"'{name}' holds infinities or NaN, which no codec can hold. Mend it first.")
    changes = []
    if waveform.channels != codec.channels:
        if codec.channels > 1 and waveform.channels > 1:
            raise AudioError(
                f"'{name}' has {waveform.channels} channels and the codec {codec.channels}. Give mono or stereo."
            )
        changes.append("mixed down to mono" if codec.channels == 1 else f"copied to {codec.channels} channels")
        mono = waveform.mono()
        waveform = Waveform(np.repeat(mono.samples, codec.channels, 0), mono.sample_rate)
    if waveform.sample_rate != codec.sample_rate:
        changes.append(f"resampled from {waveform.sample_rate} to {codec.sample_rate} Hz")
        waveform = waveform.resample(codec.sample_rate)
    return waveform, ", ".join(changes)


def _within_full_scale(waveform: Waveform, path: Path) -> Waveform:
    """Turn down a sound that peaks above 1, which a file could only clip, and say so."""
    from ..audio import Waveform

    peak = waveform.peak
    if not math.isfinite(peak) or peak <= 1:
        return waveform
    log.warning("%s: the decoded sound peaks at %.2f; it is turned down by %.1f dB", path, peak, 20 * math.log10(peak))
    return Waveform(waveform.samples * (1 / peak * (1 - 1e-6)), waveform.sample_rate)


def _stem(path: Path) -> str:
    """The name of a file without folder and suffixes."""
    return path.name.removesuffix(SUFFIX) if path.name.endswith(SUFFIX) else path.stem


def _codes_path(source: Path, output: Path | None) -> Path:
    """Name the codes file: `<name>.codes.safetensors` here unless told otherwise."""
    path = Path(f"{source.stem}{SUFFIX}") if output is None else output
    if not path.name.endswith(SUFFIX) or path.name == SUFFIX:
        raise ConfigError(f"The output '{path}' must end in {SUFFIX}, so that everybody sees what it is.")
    return path


def _report(path: Path, said: str, facts: dict[str, Any], duration: float, seconds: float, as_json: bool) -> None:
    """Print a line, or the same as JSON."""
    if as_json:
        found = {"path": str(path), **facts, "duration": duration, "seconds": round(seconds, 3)}
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print(f"{path}: {duration:.1f} s, {said} ({seconds:.1f} s)")
