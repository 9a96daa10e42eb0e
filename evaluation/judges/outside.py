"""Any program of your own as a judge: one that the package must not import, or that needs an environment of its own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ...audio import Waveform
from ...errors import ConfigError
from .base import Judge

__all__ = ["Outside"]

VARIABLE = "GEN_AUDIO_JUDGE"
RATE = 44100
KNOWN = ("tempo", "beats", "key", "chords")  # facts that it may tell, as Judge.hear names them


class Outside(Judge):
    """The program of GEN_AUDIO_JUDGE: it reads the path of a WAV a line and answers each with a line of JSON.

    What it tells goes before what other judges say.

    Source: whatever the program is; `benchmarks/judge_lines.py` is madmom.
    """

    title, licence, needs = f"the program of {VARIABLE}", "its own", ()

    def __init__(self) -> None:
        self.check()
        command = shlex.split(os.environ[VARIABLE])
        own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # it has packages of its own
        try:
            self.program = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=own
            )
        except OSError as error:
            raise ConfigError(f"{VARIABLE} is '{' '.join(command)}', which does not start: {error}.") from error

    @classmethod
    def missing(cls) -> str | None:
        """Nobody needs it, so it is missing unless the variable is set."""
        return None if os.environ.get(VARIABLE) else f"set {VARIABLE} to a program, see docs/evaluation.md"

    def close(self) -> None:
        """End the program."""
        self.program.communicate()

    def hear(self, waveform: Waveform) -> dict[str, Any]:
        assert self.program.stdin is not None and self.program.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sound.wav"
            waveform.mono().resample(RATE).normalise("peak").save(path)
            try:
                print(path, file=self.program.stdin, flush=True)
                answer = self.program.stdout.readline()
            except BrokenPipeError:
                answer = ""
        try:
            facts = json.loads(answer)
        except ValueError:
            raise ConfigError(
                f"{VARIABLE} answered {answer[:80]!r}; it must print one line of JSON for each path that it reads. "
                "Run it by hand to see why."
            ) from None
        return {name: value for name, value in facts.items() if name in KNOWN}
