"""The loop that every trainer shares: schedule, logging, checkpoints, exact resume.

Knows no model. A stage gives a module, a loss for step n, and a validation. Step n draws its data from a generator
seeded by (seed, n), so a run that was killed and resumed takes the very steps it would have taken.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..errors import ConfigError
from ..models.half import has_fast_bf16
from .curves import draw_curves
from .weights import read_weights

__all__ = ["Stage", "autocast", "learning_rate", "pick_device", "run", "to_device"]


class Stage(Protocol):
    """What the loop needs of a trainer."""

    part: str  # of a finished model, that this stage trains

    @property
    def module(self) -> nn.Module:
        """What is trained: its parameters that need a gradient."""
        ...

    @property
    def critic(self) -> nn.Module | None:
        """What learns beside it and is not released."""
        ...

    def loss(self, step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of step `step`, with its graph, and numbers to log."""
        ...

    def validate(self) -> dict[str, float]:
        """Return numbers on held-out data."""
        ...


def pick_device(name: str) -> torch.device:
    """Turn "auto", "cpu" or "cuda" into a device; "auto" takes a GPU if there is one.

    Raises:
        ConfigError: a GPU was asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device is '{name}', but PyTorch finds no GPU here. Use auto or cpu.")
    return torch.device(name)


def to_device(batch: Any, device: torch.device) -> Any:
    """Move the tensors of nested dicts, lists and tuples."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {name: to_device(part, device) for name, part in batch.items()}
    return type(batch)(to_device(part, device) for part in batch) if isinstance(batch, (list, tuple)) else batch


def autocast(device: torch.device, bf16: bool | str) -> torch.autocast:
    """Run linear layers in bf16 if `bf16` is True, or "auto" and it pays; convolutions look after themselves."""
    wanted = (device.type != "cpu" or has_fast_bf16()) if bf16 == "auto" else bool(bf16)
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


def learning_rate(step: int, *, peak: float, warmup: int, steps: int, decay: int) -> float:
    """Warm up, stay, then fall linearly to zero over the last `decay` steps (warm-up, stable, decay).

    Source: Hu et al. 2024 (MiniCPM), arXiv:2404.06395, section 4.
    """
    return peak * min(1.0, (step + 1) / warmup, max(0.0, (steps - step) / decay))


def run(stage: Stage, config: dict[str, Any], out: Path) -> None:
    """Train a stage in folder `out` until `config["steps"]`, or until it has been wound down.

    Keys of config: steps, warmup_steps, decay_steps, learning_rate, weight_decay, betas, clip, seed, log_every,
    validate_every, checkpoint_minutes, and optionally start_from: weights of an earlier run, or a model's name, to
    begin with instead of random ones; and critic_pace, how many times the learning rate a critic learns at. With
    `minutes` instead of null the run ends after so long, whatever the machine makes of it, the last `decay_share` of
    its steps being the decay: repeatable only from the moment that the decay has begun. A file `wind-down` in `out`
    starts the final decay at once. Writes `metrics.jsonl` and its picture `curves.png`, `state.safetensors` +
    `state.json`, and at the end `model.safetensors`.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config["seed"])
    if config.get("start_from") and not (out / "state.safetensors").exists():
        _start_from(stage.module, config["start_from"], stage.part)
    learners = {"module": stage.module} | ({"critic": stage.critic} if stage.critic is not None else {})
    trained: list[list[nn.Parameter]] = []
    groups: list[dict[str, Any]] = []
    for name, learner in learners.items():
        learner.to(pick_device(config.get("device", "auto")))
        trained.append([p for p in learner.parameters() if p.requires_grad])
        wide, thin = ([p for p in trained[-1] if (p.dim() >= 2) == is_wide] for is_wide in (True, False))
        pace = {"pace": config["critic_pace"] if name == "critic" else 1.0}
        groups += [{"params": wide, "weight_decay": config["weight_decay"], **pace}]
        groups += [{"params": thin, "weight_decay": 0.0, **pace}]
    optimizer = torch.optim.AdamW(groups, betas=tuple(config["betas"]), fused=True)
    begun = {"step": 0, "steps": config["steps"], "decay": config["decay_steps"], "seconds": 0.0}
    progress = _resume(learners, optimizer, out) or begun
    since_save = clock = time.monotonic()
    while progress["step"] < progress["steps"]:
        step = progress["step"]
        if (out / "wind-down").exists():
            (out / "wind-down").unlink()
            progress["steps"] = min(progress["steps"], step + progress["decay"])
        metrics = _update(stage, optimizer, trained, config, progress)
        progress["step"] = step + 1
        progress["seconds"] += time.monotonic() - clock
        clock = time.monotonic()
        _keep_to_time(config, progress)
        last = progress["step"] >= progress["steps"]
        validates = last or (step + 1) % config["validate_every"] == 0
        if validates:
            stage.module.eval()
            with torch.no_grad():
                metrics |= {f"held_out/{k}": v for k, v in stage.validate().items()}
            stage.module.train()
        if (step + 1) % config["log_every"] == 0 or last:
            _log(out, metrics | {"step": step + 1, "seconds": round(progress["seconds"], 1)})
        if validates:
            draw_curves(out / "metrics.jsonl", out / "curves.png")
        if last or time.monotonic() - since_save > 60 * config["checkpoint_minutes"]:
            _save(learners, optimizer, progress, out)
            since_save = time.monotonic()
    save_file(_tensors(stage.module), out / "model.safetensors")


def _update(
    stage: Stage,
    optimizer: torch.optim.Optimizer,
    trained: list[list[Any]],
    config: dict[str, Any],
    progress: dict[str, Any],
) -> dict[str, float]:
    """One step of the optimiser; a loss that is not finite stops the run, the last checkpoint is still good.

    `trained`: parameters of each learner, whose gradients are clipped apart.
    """
    step, steps, decay = progress["step"], progress["steps"], progress["decay"]
    rate = learning_rate(step, peak=config["learning_rate"], warmup=config["warmup_steps"], steps=steps, decay=decay)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["pace"]
    torch.manual_seed(config["seed"] * 1_000_003 + step)
    loss, metrics = stage.loss(step, np.random.default_rng([config["seed"], step]))
    if not torch.isfinite(loss):
        raise ConfigError(f"the loss of step {step} is {float(loss.detach())}; lower learning_rate and resume")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norms = [float(torch.nn.utils.clip_grad_norm_(parameters, config["clip"])) for parameters in trained]
    optimizer.step()
    return {"loss": float(loss.detach()), "rate": rate, "norm": norms[0]} | metrics


def _keep_to_time(config: dict[str, Any], progress: dict[str, Any]) -> None:
    """With `minutes` in the config: as many steps as end in time at the speed so far, until the decay has begun."""
    step, minutes = progress["step"], config.get("minutes")
    if not minutes or step % config["log_every"] or step >= progress["steps"] - progress["decay"]:
        return
    left = 60 * minutes - progress["seconds"]
    progress["steps"] = max(step + 1, round(step + left * step / progress["seconds"]))
    progress["decay"] = max(1, round(config["decay_share"] * progress["steps"]))


def _log(out: Path, metrics: dict[str, float]) -> None:
    line = {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in metrics.items()}
    with open(out / "metrics.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}


def _save(
    learners: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, progress: dict[str, Any], out: Path
) -> None:
    """Write the whole state in one file that replaces the last one at once; progress travels in its header."""
    tensors = {f"{name}.{k}": v for name, learner in learners.items() for k, v in _tensors(learner).items()}
    for name, buffer in learners["module"].named_buffers():  # those that a model does not need, such as EMA counts
        if f"module.{name}" not in tensors:
            tensors[f"buffer.{name}"] = buffer.detach().cpu().contiguous()
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v).cpu().contiguous() for k, v in state.items()}
    save_file(tensors, out / "state.part", metadata={"progress": json.dumps(progress)})
    os.replace(out / "state.part", out / "state.safetensors")
    (out / "state.json").write_text(json.dumps(progress) + "\n")


def _start_from(module: nn.Module, source: str | Path, part: str) -> None:
    """Take the weights of a file or of a model; what it lacks keeps its random start and is named.

    A block that is new starts as the identity, so a trained transformer may be continued with more of them.

    Raises:
        ConfigError: there is no such file, or it holds tensors that this module has not, or of another shape.
    """
    theirs, ours = read_weights(source, part), module.state_dict()
    strange = [name for name, value in theirs.items() if name not in ours or ours[name].shape != value.shape]
    if strange:
        wanted = list(ours[strange[0]].shape) if strange[0] in ours else "no such tensor"
        raise ConfigError(
            f"start_from: {source} has {strange[0]} {list(theirs[strange[0]].shape)}, this model has {wanted}. "
            "Use the settings that those weights were trained with."
        )
    module.load_state_dict(theirs, strict=False)
    new = sorted(set(ours) - set(theirs))
    print(f"started from {source}" + (f"; new and random: {', '.join(new)}" if new else ""), flush=True)


def _resume(learners: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, out: Path) -> dict[str, Any] | None:
    """Restore the state of `_save`; None when there is none.

    Raises:
        ConfigError: the state belongs to modules of another shape.
    """
    path = out / "state.safetensors"
    if not path.exists():
        return None
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        progress = json.loads(file.metadata()["progress"])
    tensors = load_file(path)
    buffers = dict(learners["module"].named_buffers())
    ours = {f"{name}.{k}": v for name, learner in learners.items() for k, v in learner.state_dict().items()}
    ours |= {f"buffer.{k}": v for k, v in buffers.items()}
    for key, value in tensors.items():
        if not key.startswith("optimizer.") and (key not in ours or ours[key].shape != value.shape):
            raise ConfigError(
                f"{path} holds {key} {list(value.shape)}, which this model has not: its settings or its code have "
                "changed since. Train into another folder."
            )
    for name, learner in learners.items():
        own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
        learner.load_state_dict(own)
    for key, value in tensors.items():
        if key.startswith("buffer."):
            buffers[key[7:]].copy_(value)
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            states.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
    print(f"resumed at step {progress['step']}", flush=True)
    return progress
