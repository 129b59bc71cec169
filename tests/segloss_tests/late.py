"""What a run imports or makes only once it needs it: done before runs are forked, it takes none of them a second."""

import albumentations  # noqa: F401
import distributed  # noqa: F401
import sklearn.manifold  # noqa: F401

import engine.ablation.arms
import engine.verbs.ablate  # noqa: F401
from engine.configuration.checking import load_config
from segloss_tests import ROOT

load_config(ROOT / "configs/demo.yaml")  # makes the schemas of all sections
