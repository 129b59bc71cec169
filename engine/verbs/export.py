"""A trained network as one file that other programs run."""

from __future__ import annotations

from pathlib import Path

from datasets.files import write_atomically

from ..configuration import build
from ..console.display import Display
from ..errors import UsageError
from ..experiment.device import launch
from ..exporting.description import FILES, FOLDER, Engine, Form, described
from ..exporting.exported import Exported, content_of, on_cpu, runner
from ..exporting.graph import Deployed, bare, scale_of, trace
from ..exporting.parity import check_images, check_noise
from ..scoring.inference import inferring
from ..scoring.trained import Trained
from ..store.files import write_json
from ..store.outputs import Outputs


def export(path: Path, engine: Engine, checkpoint: str | None, overrides: list[str], display: Display) -> None:
    """Write the network of a run, or the mean of those of its folds, as one graph, with a JSON file that describes it.

    It is written only if it gives what the run gives, on noise and on images of the data set, where those are there.

    Raises:
        UsageError: no run, no such checkpoint, a network that no graph can be made of, a library that is missing.
    """
    trained = Trained.open(path, checkpoint, overrides)
    config, adapter, file = trained.config, trained.adapter, FILES[engine]
    outputs = Outputs(path / FOLDER, "export", "remove it")
    outputs.claim([file, f"{file}.json"])
    fabric, form = launch(on_cpu(config.train)), Form.of(config, adapter)
    network = trained.network(fabric, display)
    activation = build.activation(config.loss, build.outputs(config.data, adapter))
    names = ["logits"] if activation == "none" else ["logits", "probabilities"]
    normalisation = build.build_normalisation(config.data.normalise, adapter)
    scale = scale_of(normalisation, adapter.channels, form.channels) if form.normalises else None
    scores = config.scores.model_copy(update={"window": None, "flip": False}) if form.windowed else config.scores
    deployed = Deployed(bare(network), scores, activation, scale).eval()
    try:
        content = content_of(trace(deployed, form.channels, form.size), engine, names)
        exported = Exported(runner(content, engine), form, config.scores)
    except ValueError as error:
        raise UsageError(f"{path}: {config.model.name} cannot be exported as one graph: {error}") from error
    own = inferring(network, config.scores)
    check_noise(exported, own, form, scale)
    parity = check_images(exported, own, trained, fabric, display)
    with outputs.writing(file, f"{file}.json"):
        write_atomically(path / FOLDER / file, content)
        write_json(
            path / FOLDER / f"{file}.json", described(trained, form, engine, names, content) | {"parity": parity}
        )
    equal = f"; labels of {parity['images']} images equal in {parity['equal']:.3%}" if parity["images"] else ""
    display.line(f"{path / FOLDER / file}: {len(content) / 2**20:.1f} MiB, for {form.in_words()}{equal}")
    display.line(f"{path / FOLDER / file}.json: its input, and what is left to whoever runs it")
