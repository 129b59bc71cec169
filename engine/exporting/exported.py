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
from zipfile import BadZipFile

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule

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
        content, form = read(trained, engine), Form.of(trained.config, trained.adapter)
        try:
            return cls(runner(content, engine), form, trained.config.scores)
        except ValueError as error:
            raise UsageError(f"--engine {engine}: the file of {trained.path} cannot be run here: {error}") from error

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
    for part in graph.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, GraphModule) else ():
            node.meta.pop("stack_trace", None)  # it names the folders of this machine
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
    model = found.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # how the program came to it
    content: bytes = model.SerializeToString()
    return content


def runner(content: bytes, engine: Engine) -> Run:
    """From images to the logits of a graph.

    Raises:
        UsageError: the library that runs it is not installed.
        ValueError: the library cannot run it, such as a version of torch that is older than the one that wrote it.
    """
    return _torch(content) if engine == "torch" else _onnx(content)


def _torch(content: bytes) -> Run:
    try:
        program: Any = torch.export.load(io.BytesIO(content))
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, BadZipFile) as error:
        raise ValueError(" ".join(str(error).split())[:200]) from error
    unguarded = {"check_guards": False} if "check_guards" in signature(program.module).parameters else {}
    module = program.module(**unguarded)  # the guards are of how the example lay in memory
    return lambda images: module(images)[0]


def _onnx(content: bytes) -> Run:
    onnxruntime = _library("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 4
    with _failures():
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

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
