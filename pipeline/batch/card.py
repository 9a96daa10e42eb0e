"""The data card: README.md in the form that the Hub reads, with pictures of how the sounds are spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ... import __version__
from . import durable
from .settings import Settings

__all__ = ["Tally", "write"]

NUMBERS = {"duration": "seconds", "loudness_lufs": "LUFS", "tempo": "BPM"}  # drawn as histograms; their units
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
PARAMETERS = ("temperature", "guidance_scale", "plan_guidance", "rung", "loudness")  # told in the card
LOADING = {
    "audiofolder": 'from datasets import load_dataset\n\nsounds = load_dataset("audiofolder", data_dir="{out}")',
    "parquet": 'from datasets import load_dataset\n\nsounds = load_dataset("parquet", data_files="{out}/*.parquet")',
    "webdataset": (
        "import glob\n\nimport webdataset\n\n"
        'sounds = webdataset.WebDataset(sorted(glob.glob("{out}/*.tar")), shardshuffle=False)'
    ),
}


@dataclass
class Tally:
    """What is counted of all records; it takes no more memory for more of them, since numbers are rounded."""

    count: int = 0
    seconds: float = 0.0
    numbers: dict[str, Counter[float]] = field(default_factory=lambda: {name: Counter() for name in NUMBERS})
    styles: Counter[str] = field(default_factory=Counter)
    models: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    forms: Counter[tuple[int, int]] = field(default_factory=Counter)  # rate and channels

    def add(self, record: dict[str, Any]) -> None:
        """Count one record."""
        self.count += 1
        self.seconds += record["duration"]
        for name, values in self.numbers.items():
            if record.get(name) is not None:
                values[round(record[name], 2)] += 1
        if record.get("style"):
            self.styles[record["style"]] += 1
        model = (record.get(key) or "" for key in ("model", "model_sha256", "precision", "licence"))
        self.models[tuple(model)] += 1  # type: ignore[index]
        self.forms[record["sample_rate"], record["channels"]] += 1


def write(out: Path, aside: Path, records: Iterable[dict[str, Any]], settings: Settings, licence: str) -> None:
    """Write README.md and card/*.png of an output folder.

    Args:
        aside: folder for files that are not whole yet.
        licence: of the data set, if the user stated one; else what the models' licences say.
    """
    tally = Tally()
    for record in records:
        tally.add(record)
    pictures = {}
    for name, draw in _pictures(tally):
        draw(aside / f"{name}.png")
        pictures[aside / f"{name}.png"] = out / "card" / f"{name}.png"
    if pictures:
        durable.move(pictures)
    text = _text(tally, settings, licence, [path.stem for path in pictures])
    durable.write(out / "README.md", text, aside / "README.md")


def _text(tally: Tally, settings: Settings, licence: str, pictures: list[str]) -> str:
    hours = tally.seconds / 3600
    models = [f"| {name} | `{sha[:12]}` | {kind} | {rights or 'not stated'} | {count:,} |" for (name, sha, kind, rights), count in tally.models.most_common()]  # fmt: skip # noqa: E501
    forms = ", ".join(f"{rate} Hz, {channels} channels" for (rate, channels), _ in tally.forms.most_common())
    shown = "\n".join(f"![{name}](card/{name}.png)" for name in pictures)
    lengths = tally.numbers["duration"]
    spread = f"{min(lengths):.1f} to {max(lengths):.1f} s each" if lengths else "none yet"
    return f"""---
{_front(tally, licence)}---

# {tally.count:,} sounds, {hours:.2f} hours

Music that was generated from text by gen-audio {__version__}: {spread}; {forms or "no sound"}; {settings.format}.
Every sound has a row with its prompt, seed, every parameter, the musical plan (tempo, key, sections, a chord a bar)
and a content address; `gen-audio verify` plays any of them again and compares.

```python
{LOADING[settings.layout].format(out="THIS_FOLDER")}
```

| model | sha256 | precision | licence of the weights | sounds |
|---|---|---|---|---|
{chr(10).join(models)}

| column | |
|---|---|
| `prompt`, `seed`, `parameters` | what was asked for; `parameters` is JSON with every resolved setting |
| `style`, `tempo`, `key`, `meter`, `roles` | what was played, as the plan says; `plan` is that plan as JSON |
| `duration`, `sample_rate`, `channels`, `loudness_lufs` | of the file; loudness by ITU-R BS.1770 |
| `model`, `model_sha256`, `precision`, `executor`, `licence` | what played |
| `address`, `codes_sha256` | hash of all that was asked for, and of the codes that the network wrote |
{"Codes are kept: `gen-audio batch --from-codes` decodes them again." if settings.keep_codes else ""}

{shown}
"""


def _front(tally: Tally, licence: str) -> str:
    """The YAML that the Hub reads."""
    stated = sorted({rights.lower() for _, _, _, rights in tally.models if rights})
    named = licence or (stated[0] if len(stated) == 1 and " " not in stated[0] else "other")
    size = next((text for limit, text in SIZES if tally.count < limit), "n>1M")
    lines = [
        f"license: {named}",
        "task_categories:",
        "- text-to-audio",
        "tags:",
        "- music",
        "- synthetic",
        "- gen-audio",
    ]
    return "\n".join([*lines, "size_categories:", f"- {size}"]) + "\n"


def _pictures(tally: Tally) -> Iterator[tuple[str, Any]]:
    """Name and drawing function of each picture that there is something to draw of."""
    for name, unit in NUMBERS.items():
        if values := tally.numbers[name]:
            yield name, lambda path, name=name, unit=unit, values=values: _histogram(path, name, unit, values)
    if tally.styles:
        yield "style", lambda path: _bars(path, tally.styles)


def _histogram(path: Path, name: str, unit: str, values: Counter[float]) -> None:
    import numpy as np

    bins = min(40, max(5, values.total()))
    counts, edges = np.histogram(list(values), bins, weights=list(values.values()))
    _figure(path, name, f"{name} ({unit})", lambda axes: axes.stairs(counts, edges, fill=True))


def _bars(path: Path, counts: Counter[str]) -> None:
    names, heights = zip(*sorted(counts.items()), strict=True)

    def draw(axes: Any) -> None:
        axes.bar(names, heights)
        axes.tick_params(axis="x", labelrotation=90)

    _figure(path, "style", "", draw)


def _figure(path: Path, title: str, label: str, draw: Any) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw(axes)
    axes.set(title=title, xlabel=label, ylabel="sounds")
    figure.savefig(path, dpi=100, metadata={"Software": None})
