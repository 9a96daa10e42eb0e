"""benchmarks/backends: a time counts only if the step computes what the reference computes."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parent.parent / "benchmarks" / "backends"
CASES = [
    *(("ours", variant) for variant in ("fp32", "bf16", "int8", "int4")),
    *(("PyTorch", variant) for variant in ("fp32", "bf16", "int8", "fbgemm fp16", "fbgemm int8")),
    *(("PyTorch", variant) for variant in ("oneDNN fp32", "oneDNN bf16", "int4pack")),
    *(("OpenVINO", variant) for variant in ("fp32", "bf16", "int8", "int4 g64", "int4 g128", "int4 g64 in bf16")),
    *(("onnxruntime", variant) for variant in ("fp32", "int8 g128", "int4 g64", "int4 g128")),
]


@pytest.fixture(scope="module")
def worker() -> ModuleType:
    """The module, found without putting the checkout on the path, where our folders would hide other packages."""
    spec = importlib.util.spec_from_file_location(
        "backends", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
    )
    assert spec and spec.loader
    sys.modules["backends"] = importlib.util.module_from_spec(spec)
    return importlib.import_module("backends.worker")


@pytest.fixture(scope="module")
def work(worker: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    workload = importlib.import_module("backends.workload")
    path = tmp_path_factory.mktemp("work") / "work.safetensors"
    workload.make(path, "tiny")
    return workload.Work(path)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="fbgemm and oneDNN's packed products are for x86")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize(("name", "variant"), CASES, ids=[", ".join(case) for case in CASES])
def test_a_backend_finds_the_logits_of_the_reference(worker: ModuleType, work: Any, name: str, variant: str) -> None:
    if name in ("OpenVINO", "onnxruntime"):
        pytest.importorskip(name.lower())
        pytest.importorskip("onnx")
    assert variant in worker.variants(name)
    found = worker.errors(worker.build(name, variant, work, torch.get_num_threads()), work)
    assert found["error"] < worker.BOUNDS[worker.bits(variant)]
