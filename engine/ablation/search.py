"""What the trials of a configuration try: points of a search space, the same for all arms, and their configurations."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from scipy.stats import qmc

from ..configuration.checking import check
from ..configuration.config import TRIED, Config, Options, RangeSection, TuneSection
from ..configuration.source import Node, merge
from ..errors import ConfigError
from ..experiment.identity import FREE

Space = dict[str, RangeSection | Options]
"""By dotted key, what is tried."""
HELD_OUT = ("data.split", "data.group", "data.exclude", "data.labels", "data.root")
"""What decides which cases are held out, and what their classes are."""
COUNTED = ("data.labelled", "data.regions")
"""What of them is scored."""
FIXED = (
    *("name", "seed", "output", "ablation", "tune", "extends"),
    *("train.epochs", "train.minutes", "train.validate_every", "scores"),
    *(*HELD_OUT, *COUNTED, *FREE),
)
"""What is the same in every trial: its data, its budget, how it is scored, and what does not decide what comes out."""
MOST_KEYS = 16
"""Keys that are tuned together."""
DIGITS = 3
"""Significant digits of a number that is drawn."""
FEWEST_GROUPS = 3
"""Validation groups that values can be chosen by."""
TOO_FEW = f"values are chosen by the scores of validation groups, of which tuning needs {FEWEST_GROUPS} or more"


@dataclass(frozen=True)
class Search:
    """The trials of one configuration.

    Attributes:
        config: what is tuned.
        values: by the number of the trial, what it sets each key to; trial 0 has what is configured.
        configs: by the number of the trial, the configuration that it trains.
        epochs: that a trial trains.
    """

    config: Config
    values: dict[int, dict[str, Any]]
    configs: dict[int, Config]
    epochs: int

    @classmethod
    def of(
        cls,
        root: Node,
        config: Config,
        section: TuneSection,
        node: Node,
        own: Node | None = None,
        arm: str | None = None,
    ) -> Search:
        """The trials of a configuration; one whose values are those of an earlier one is left out.

        Args:
            root: the configuration as it was read.
            config: the same, checked.
            section: what is asked for.
            node: the same as it was read, for the places of errors.
            own: the keys that an arm tunes beside the shared ones, or in place of some; None for none.
            arm: its name; None for a single run.

        Raises:
            ConfigError: every problem found, one a line.
        """
        if config.train.epochs is None:
            raise ConfigError(
                [f"{node.at}: tune: a trial trains a share of train.epochs, so it needs them in place of train.minutes"]
            )
        space, places = _space(root, section, node, own, arm)
        epochs = max(1, round(section.epochs * config.train.epochs))
        short = _with_values(root, {"train.epochs": epochs}, {"train.epochs": node})
        values = {0: {key: configured(config, key) for key in space}}
        try:
            configs = {0: check(deepcopy(short), like=config)}
        except ConfigError as error:  # of what a whole training has epochs enough for
            name = "tune" if arm is None else "ablation.tune"
            said = f"; of a trial, by {name}.epochs: {section.epochs:g}"
            raise ConfigError([problem + said for problem in error.problems]) from error
        problems: list[str] = []
        for number, point in enumerate(points(section.trials - 1, section.seed), start=1):
            tried = {key: drawn(one, float(place)) for (key, one), place in zip(space.items(), point, strict=False)}
            if tried in values.values():
                continue
            try:
                configs[number] = check(_with_values(short, tried, places), like=config)
            except ConfigError as error:
                problems += error.problems
            values[number] = tried
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))
        return cls(config, values, configs, epochs)

    def whole(self, trial: int) -> Config:
        """The configuration with the values of a trial, and all of its epochs."""
        one = self.configs[trial]
        return one.model_copy(update={"train": one.train.model_copy(update={"epochs": self.config.train.epochs})})


def _space(
    root: Node, section: TuneSection, node: Node, own: Node | None, arm: str | None
) -> tuple[Space, dict[str, Node]]:
    """The keys that are tuned, and where they stand; a `ConfigError` with every problem found."""
    name = "tune" if arm is None else "ablation.tune"
    space, places = dict(section.keys), dict(node.find(["keys"])[0].value) if section.keys else {}
    problems = [*_space_problems(space, places, f"{name}.keys"), *_validation_problems(root)]
    if own is not None:
        given, wrong = _own_space(own, f"ablation.arms.{arm}.tune")
        space, places, problems = space | given, places | (own.value if given else {}), [*problems, *wrong]
    problems += [
        f"{places[key].at}: {key}: lies in a list, whose items have no keys to tune"
        for key in space
        if _in_list(root, key)
    ]
    problems += [
        f"{places[key].at}: {key}: lies in {outer}, which is tuned too; tune one of them"
        for key in space
        for outer in space
        if key.startswith(f"{outer}.")
    ]
    if not space and not problems:
        of = "" if arm is None else f" of the arm {arm}"
        example = "optim.lr: {low: 1e-4, high: 1e-2, log: true}"
        problems.append(f"{node.at}: {name}.keys: nothing{of} to tune; name a key, such as {example}")
    if len(space) > MOST_KEYS:
        problems.append(f"{node.at}: {name}.keys: {len(space)} keys; {MOST_KEYS} at most are tuned together")
    if problems:
        raise ConfigError(problems)
    return space, places


def points(count: int, seed: int) -> NDArray[np.float64]:
    """The first points of a scrambled Sobol sequence, `(count, MOST_KEYS)` in [0, 1): more begin with the same.

    A search of fewer keys takes the first columns, so what it shares with another has the same values in both.
    """
    sequence = qmc.Sobol(MOST_KEYS, scramble=True, rng=seed)
    found: NDArray[np.float64] = sequence.random_base2(math.ceil(math.log2(max(count, 1))))[:count]
    return found


def drawn(one: RangeSection | Sequence[Any], place: float) -> Any:
    """The value of a key at a place in [0, 1)."""
    if not isinstance(one, RangeSection):
        return one[int(place * len(one))]
    if one.log:
        value = math.exp(math.log(one.low) + place * (math.log(one.high) - math.log(one.low)))
    else:
        value = one.low + place * (one.high - one.low)
    return min(max(float(f"{value:.{DIGITS}g}"), one.low), one.high)


def configured(config: Config, key: str) -> Any:
    """What a configuration sets a key to, its default included; a section that is a list of one is that one."""
    value: Any = config.document()
    for part in key.split("."):
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _own_space(node: Node, name: str) -> tuple[Space, list[str]]:
    """The keys that an arm tunes alone, and a line for each that is none."""
    if not isinstance(node.value, dict):
        return {}, [f"{node.at}: {name}: expected a mapping of keys, such as loss.gamma: [1, 2, 3]"]
    kind: TypeAdapter[RangeSection | Options] = TypeAdapter(RangeSection | Options)
    space: Space = {}
    problems = []
    for key, one in node.value.items():
        try:
            space[key] = kind.validate_json(json.dumps(one.plain()), strict=True)
        except ValidationError:
            problems.append(f"{one.at}: {name}: {key} must be {TRIED}, got {json.dumps(one.plain())}")
    return space, [*problems, *_space_problems(space, node.value, name)]


def _space_problems(space: Space, places: Mapping[str, Node], name: str) -> Iterator[str]:
    """What the types do not say of keys and their ranges."""
    for key, one in space.items():
        at = f"{places[key].at}: {name}: {key}"
        if any(key == fixed or key.startswith(f"{fixed}.") for fixed in FIXED):
            yield f"{at}: is the same in every trial; tune another key"
        if not isinstance(one, RangeSection):
            if len({*map(json.dumps, one)}) < len(one):
                yield f"{at}: a value is given twice, got {json.dumps(one)}"
        elif not one.low < one.high:
            yield f"{at}: low must be less than high, got {one.low:g} and {one.high:g}"
        elif one.log and one.low <= 0:
            yield f"{at}: low must be above 0 on a logarithmic scale, got {one.low:g}"


def _validation_problems(root: Node) -> Iterator[str]:
    """Where the split itself says that too few groups validate."""
    split = root.find(["data", "split"])[0].plain()
    val = split.get("val") if isinstance(split, dict) else None
    none = val == 0 and split.get("kind") not in ("official", "file")  # which may have a validation part of their own
    if val is not None and (none or 1 <= val < FEWEST_GROUPS):
        yield f"{root.find(['data', 'split', 'val'])[0].at}: data.split.val: {val:g}, but {TOO_FEW}"


def _in_list(root: Node, key: str) -> bool:
    node = root
    for part in key.split("."):
        if isinstance(node.value, list):
            return True
        node = node.find([part])[0]
    return False


def _with_values(root: Node, values: Mapping[str, Any], places: Mapping[str, Node]) -> Node:
    """A configuration with other values of some keys, whose place is where they are tuned.

    They are laid over it together, so that a `name` among them takes none of the others away.
    """
    top = Node({}, root.at)
    for key, value in values.items():
        at = places[key].at
        node = Node(value, at)
        for part in reversed(key.split(".")):
            node = Node({part: node}, at)
        top = merge(top, node)
    return merge(deepcopy(root), top)
