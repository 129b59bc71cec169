"""Graphs as files, and what runs them: onnxruntime, or torch without the code of the network."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from datasets.samples import normalised

from ..configuration.config import ScoresSection, TrainSection
from ..errors import UsageError
from ..scoring.inference import infer
from ..scoring.trained import Trained
from .description import INPUT, Engine, Form, read

OPSET = 20
Run = Callable[[Tensor], Tensor]


class Exported:
    """An exported network, as `engine.scoring.inference.Infer`.

    Args:
        run: images to logits.
        form: of the graph.
        scores: how windows are put together.
    """

    def __init__(self, run: Run, form: Form, scores: ScoresSection) -> None:
        self.run, self.form, self.scores = run, form, scores

    @classmethod
    def open(cls, trained: Trained, engine: Engine) -> Exported:
        """What `export` has written of a run.

        Raises:
            UsageError: nothing, or of other weights or rules, or damaged; the library that runs it is not installed.
        """
        return cls(
            runner(read(trained, engine), engine), Form.of(trained.config, trained.adapter), trained.config.scores
        )

    def __call__(self, image: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
        """Logits `(N, C, H, W)` float32."""
        if self.form.normalises:
            return self.run(image.float() if image.dtype == torch.uint8 else image * 255)
        images = normalised(image, factor, shift)
        return infer(self.run, images, self.scores) if self.form.windowed else self.run(images)


def on_cpu(train: TrainSection) -> TrainSection:
    """How networks are exported, and run once they are: in float32, on the CPU."""
    return train.model_copy(update={"device": "cpu", "devices": 1, "precision": "32-true"})


def content_of(graph: ExportedProgram, engine: Engine, outputs: list[str]) -> bytes:
    """The bytes of a graph's file.

    Raises:
        UsageError: the libraries that write it are not installed.
    """
    if engine == "torch":
        file = io.BytesIO()
        torch.export.save(graph, file)
        return file.getvalue()
    for library in ("onnx", "onnxscript"):
        _library(library)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own deprecations
        found: Any = torch.onnx.export(
            graph, dynamo=True, input_names=[INPUT], output_names=outputs, opset_version=OPSET, verbose=False
        )
    content: bytes = found.model_proto.SerializeToString()
    return content


def runner(content: bytes, engine: Engine) -> Run:
    """From images to the logits of a graph; a `UsageError` where the library that runs it is not installed."""
    return _torch(content) if engine == "torch" else _onnx(content)


def _torch(content: bytes) -> Run:
    program: Any = torch.export.load(io.BytesIO(content))
    unguarded = {"check_guards": False} if "check_guards" in signature(program.module).parameters else {}
    module = program.module(**unguarded)  # the guards are of how the example lay in memory
    return lambda images: module(images)[0]


def _onnx(content: bytes) -> Run:
    onnxruntime = _library("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 4
    with _failures():
        session = onnxruntime.InferenceSession(content, options, providers=onnxruntime.get_available_providers())

    def run(images: Tensor) -> Tensor:
        with _failures():
            (logits,) = session.run(["logits"], {INPUT: images.contiguous().numpy()})
        return torch.from_numpy(logits)

    return run


@contextmanager
def _failures() -> Iterator[None]:
    """Raise onnxruntime's own errors, which have no class in common, as a `ValueError`."""
    from onnxruntime.capi import onnxruntime_pybind11_state as raised

    try:
        yield
    except (
        raised.Fail,
        raised.InvalidArgument,
        raised.InvalidGraph,
        raised.InvalidProtobuf,
        raised.NotImplemented,
        raised.RuntimeException,
    ) as error:
        raise ValueError(" ".join(str(error).split())) from error


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise UsageError(
            f"{name} is not installed: pip install -e '.[onnx]'; or use the format torch, which needs none of it"
        ) from None
