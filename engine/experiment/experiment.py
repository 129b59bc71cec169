"""What training, evaluation and prediction share: the data, the network, the device."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch

import datasets
import models
import segloss
from segloss.base import Activation
from segloss.document import Kind, Primary

from ..configuration import build
from ..configuration.config import Config
from ..console.display import Display
from ..processes import ranks
from .run import Run


@dataclass(frozen=True)
class Experiment:
    """A configuration with its data decoded and divided.

    Attributes:
        config: what was asked for.
        adapter: the data set.
        data: its cases, by part.
    """

    config: Config
    adapter: datasets.Adapter
    data: datasets.Data

    @classmethod
    def prepare(
        cls,
        config: Config,
        recorded: datasets.Splitter | None = None,
        track: datasets.Track = lambda cases, _: cases,
    ) -> Experiment:
        """Decode and divide the data.

        Args:
            config: a checked configuration.
            recorded: the split of a run that has begun, which holds whatever has been added to the data since.
            track: shows the progress of decoding; see `datasets.prepare`.

        Raises:
            DataError: see `datasets.prepare`.
        """
        adapter = build.build_adapter(config.data)
        cache = build.build_cache(config.data, config.output, adapter)
        splitter = recorded or build.build_splitter(config.data)
        official = config.data.split.kind == "official"
        exclude = build.exclude(config.data)
        imbalance = build.build_imbalance(config.data, adapter)
        labelled = build.labelled(config.data)
        data = datasets.prepare(cache, splitter, config.data.group, official, exclude, track, imbalance, labelled)
        return cls(config, adapter, data)

    def training_samples(self) -> datasets.Samples:
        """The samples of the training part, augmented; a `DataError` where they do not fit into one batch."""
        data = self.config.data
        rule = build.slice_rule(data)
        keep = partial(datasets.kept_slices, rule=rule, background=datasets.background_index(self.adapter.classes))
        samples = datasets.Samples(
            self.data.parts["train"],
            build.build_augmentation(data),
            data.context,
            None if rule == "all" else lambda case: keep(np.array(case.counts[0])),
        )
        datasets.refuse_mixed_sizes(samples, self.config.train.batch_size)
        return samples

    def training_batches(self, samples: datasets.Samples) -> datasets.TrainingBatches:
        """The batches of the training samples, by the sampler; a `DataError` where there are too few."""
        config, adapter = self.config, self.adapter
        sampler = build.build_sampler(config.data.sampler)
        background, batch_size = datasets.background_index(adapter.classes), config.train.batch_size
        pixels, _ = samples.counts()
        share = (ranks.rank(), ranks.world_size())
        return datasets.TrainingBatches(
            len(samples), batch_size, config.seed, lambda rng: sampler(rng, pixels, background, batch_size), share
        )

    def samples(self, part: datasets.Part) -> datasets.Samples:
        """The samples of a part as they are; a `DataError` where there are none."""
        if not self.data.parts[part]:
            raise datasets.DataError(f"the {part} part of this split is empty; see split.json and data.split")
        return datasets.Samples(self.data.parts[part], context=self.config.data.context)

    def class_counts(self, samples: datasets.Samples) -> segloss.ClassCounts:
        """What the training samples hold of each class; a `DataError` where one class is all there is."""
        counts = datasets.add_slices(*samples.counts())
        if self.regions is not None:
            return self._region_counts(samples)
        present = [name for name, pixels in zip(self.adapter.classes, counts["pixels"], strict=True) if pixels]
        if len(present) < 2:
            raise datasets.DataError(
                f"the training part holds no class but {', '.join(present) or 'void'}, so there is nothing to learn; "
                "check the masks or labels, data.split and data.group"
            )
        return segloss.ClassCounts(**counts, names=self.adapter.classes)

    def _region_counts(self, samples: datasets.Samples) -> segloss.ClassCounts:
        """What the training samples hold of each region; a `DataError` where one holds nothing, or everything."""
        regions = self.regions
        assert regions is not None
        of_classes = torch.from_numpy(samples.counts()[0].toarray())
        pixels = regions.counts(of_classes)
        for name, count in zip(regions.names, pixels.sum(0).tolist(), strict=True):
            if count in (0, int(of_classes.sum())):
                held = "no pixel" if not count else "nothing but pixels"
                raise datasets.DataError(
                    f"the training part holds {held} of the region {name}, so there is nothing to learn; check the "
                    "masks, data.regions and data.split"
                )
        return segloss.ClassCounts(pixels.sum(0).tolist(), images=(pixels > 0).sum(0).tolist(), names=regions.names)

    @cached_property
    def regions(self) -> datasets.Regions | None:
        """The regions that the network has a logit for; None where it has one for each class."""
        return build.build_regions(self.config.data, self.adapter)

    @property
    def scored(self) -> Sequence[str]:
        """The names of what is scored, and of the network's logits: the regions, or the classes."""
        return self.adapter.classes if self.regions is None else self.regions.names

    @property
    def class_images(self) -> list[int] | None:
        """Of pictures with one label, how many of each class are trained on; None where that part is not read."""
        cases = self.data.parts["train"]
        return datasets.total_pixels(cases, len(self.adapter.classes)) if cases else None

    @property
    def background(self) -> int | None:
        """The class that is left out of means, or None."""
        included = self.config.scores.background == "include"
        return None if included else datasets.background_index(self.adapter.classes)

    @property
    def activation(self) -> Activation:
        """What makes probabilities of the network's logits: `softmax`, `sigmoid`, or `none`."""
        return build.activation(self.config.loss, len(self.scored))

    @property
    def primary(self) -> Primary:
        """The score that chooses the best checkpoint."""
        return primary_of(self.config, self.adapter.kind)


def primary_of(config: Config, kind: Kind) -> Primary:
    """The primary metric of a configuration, or what is usual for its kind of data."""
    section = config.scores.primary
    return Primary.of_kind(kind) if section is None else Primary(section.aggregation or "dataset", section.metric)


def prepare(
    config: Config, run: Run, display: Display, parts: Collection[datasets.Part] = datasets.PARTS
) -> Experiment:
    """The experiment of a run: with the split it began with, or a new one.

    Args:
        config: of the run.
        run: the folder.
        display: where progress is shown, and what is noted of files.
        parts: of a run that has begun, those that are wanted: the files of others need not be there.
    """
    recorded = None
    if (run.path / "split.json").is_file():
        recorded = datasets.Recorded(run.read_json("split.json"), str(run.path / "split.json"), parts)
    with warnings_shown(display):
        return Experiment.prepare(config, recorded, display.track("decoding"))


@contextmanager
def warnings_shown(display: Display) -> Iterator[None]:
    """Show what the library and the data warn of as lines, and what is noted of files by its kind."""
    kinds = (datasets.LeakageWarning, segloss.ClassWeightWarning, models.WeightsWarning)
    with warnings.catch_warnings(record=True) as caught:
        for kind in kinds:
            warnings.simplefilter("always", kind)
        with datasets.noted() as notes:
            yield
    for note in notes:
        display.line(f"note: {note}")
    for warning in caught:
        if issubclass(warning.category, kinds):
            display.line(f"warning: {warning.message}")
