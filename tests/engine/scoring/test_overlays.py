"""Pictures of scored and predicted cases: what their files are called, and that they show the image."""

from types import SimpleNamespace

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

import datasets
from engine.scoring import overlays
from engine.scoring.evaluation import Prediction
from engine.scoring.overlays import file_stem, save_overlays
from engine.scoring.prediction import Input, Predicted, write_prediction
from segloss import SegmentationScores

CLASSES = ["background", "crack"]
GREY = np.full((1, 2, 2, 3), 100, np.uint8)


def test_pictures_of_two_cases_never_share_a_file():
    assert file_stem("a/b", []) == "a_b"
    assert file_stem("a_b", ["a_b"]) not in ("a_b", file_stem("a/b", ["a_b"]))
    long = [file_stem("前" * 84 + end, []) for end in "xy"]
    assert len({*long}) == 2
    assert all(len(stem.encode()) < 220 for stem in long)


def test_the_image_is_seen_under_a_background_that_counts_in_means(tmp_path, monkeypatch):
    """With `scores.background: include` the class named background is still no cover over the image."""
    labels = torch.tensor([[[0, 1], [0, 0]]])
    scores = SegmentationScores(2)
    scores.update(labels, labels, image=[0], case=[0])
    document = scores.document(CLASSES, ["a"], ["a"], kind="still")
    case = SimpleNamespace(case=SimpleNamespace(id="a"), shape=(1, 2, 2), spacing=None, image=lambda index: GREY[index])
    experiment = SimpleNamespace(
        samples=lambda part: SimpleNamespace(cases=[case]), adapter=SimpleNamespace(classes=CLASSES), background=None
    )
    drawn = []

    def overlay(*arguments):
        drawn.append(arguments)
        return Figure()

    monkeypatch.setattr(overlays, "predict", lambda *_: [Prediction(0, labels, labels)])
    monkeypatch.setattr(overlays, "overlay", overlay)
    save_overlays(None, experiment, "test", None, document, tmp_path)
    assert [arguments[4] for arguments in drawn] == [0]


def test_a_preview_shows_the_image_where_there_is_background(tmp_path):
    reader = datasets.LabelMap({"background": [0], "crack": [1]})
    adapter = SimpleNamespace(kind="still", classes=CLASSES, labels=reader)
    found = Predicted(None, GREY, np.array([[[0, 1], [0, 0]]]), None)
    write_prediction(found, Input(tmp_path / "a.png", "a", ".png"), tmp_path / "out", adapter)
    preview = np.asarray(Image.open(tmp_path / "out/preview/a.png"))
    assert preview[0, 0].tolist() == preview[1, 1].tolist() == [100, 100, 100]
    assert np.abs(preview[0, 1] - (100 + np.array([230, 159, 0])) / 2).max() <= 1  # half orange, #e69f00
