import json
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

import models
import segloss
from engine.ablation.record import Record
from engine.configuration import build
from engine.configuration.checking import load_config, load_saved
from engine.configuration.config import NULLS, FullConfig, PaperSection
from engine.configuration.schema import schema
from engine.configuration.source import load, parse_overrides
from engine.errors import ConfigError
from segloss_tests import ROOT

BASE = """\
name: a
data: {name: camvid, root: nowhere, size: [32, 32], split: {kind: official}}
model: {name: unet}
loss: {name: focal, gamma: 1.5}
optim: {name: adam, lr: 5e-4, schedule: {name: step, every: 5}}
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="run.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def problems(path, *overrides):
    with pytest.raises(ConfigError) as error:
        load_config(path, overrides)
    return [line.removeprefix(f"{path.parent}/") for line in error.value.problems]


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_shipped_configuration_is_valid(path):
    config = load_config(path)
    resolved = YAML(typ="safe", pure=True).load(config.to_yaml())
    assert FullConfig.model_validate_json(json.dumps(resolved)) == config.model_copy(update={"ablation": None})


def test_yaml_is_1_2(write):
    path = write("a: 5e-4\nb: off\nc: 0o17\nd: yes\ne: 2026-11-21\nf: 1_000")
    assert load(path).plain() == {"a": 5e-4, "b": "off", "c": 15, "d": "yes", "e": "2026-11-21", "f": 1000}


def test_all_errors_at_once_each_with_its_place(write):
    path = write(
        """\
name: a b
seed: -1
data:
  name: camvid
  root: nowhere
  size: [32, x]
  wrokers: 3
  split: {kind: offical}
model: {name: unet, encoder: 18}
loss: {name: focl}
optim: {name: adam, lr: fast, schedule: {name: step, every: 2.5}}
train: {epochs: 0, step: fast, precision: bf16}
scoers: {}
"""
    )
    found = "\n".join(problems(path))
    for expected in [
        "run.yaml:1:1: name: use letters, digits",
        "run.yaml:2:1: seed: must be greater than or equal to 0, got -1",
        'run.yaml:6:3: data.size: expected [a whole number, a whole number] or null, got [32, "x"]',
        "run.yaml:7:3: data: unknown key 'wrokers'; did you mean 'workers'? allowed: augment, cache,",
        "run.yaml:8:11: data.split.kind: unknown split 'offical'; did you mean 'official'?",
        "run.yaml:9:21: model.encoder: expected text, got 18",
        "run.yaml:10:8: loss.name: unknown loss 'focl'; did you mean 'focal'? allowed: adfl, balanced_softmax,",
        'run.yaml:11:21: optim.lr: expected a number, got "fast"',
        "run.yaml:11:54: optim.schedule.every: expected a whole number, got 2.5",
        "run.yaml:12:9: train.epochs: must be greater than or equal to 1, got 0",
        "run.yaml:12:20: train.step: unknown value 'fast'; allowed: ",
        "run.yaml:12:32: train.precision: unknown value 'bf16'; did you mean 'bf16-mixed'?",
        "run.yaml:13:1: unknown key 'scoers'; did you mean 'scores'?",
    ]:
        assert expected in found
    assert len(found.splitlines()) == 13


def test_constructors_check_their_ranges(write):
    path = write(
        """\
name: a
data: {name: camvid, root: nowhere, size: [32, 32], split: {kind: holdout, test: 0}}
model: {name: unet, pretrained: imagenet, init_from: other}
loss: [{name: focal, alpha: [1, 2]}, {name: ce, class_weights: {name: inverse}}, {name: dice, smooth: -1}]
optim: {name: sgd, lr: -0.1, schedule: {name: multistep, at: []}}
scores: {background: exclude}
"""
    )
    found = problems(path)
    for expected in [
        "run.yaml:2:76: data.split.test: must be a number of groups ≥ 1 or a share in (0, 1), got 0",
        "run.yaml:3:43: model.init_from: the weights come from a run, so pretrained must be null",
        "run.yaml:4:22: loss.0.alpha: must be a number or one number a class (11), got 2 numbers",
        "run.yaml:4:49: loss.1.class_weights: unknown scheme 'inverse'; did you mean 'inverse_sqrt'?",
        "run.yaml:4:95: loss.2.smooth: must be ≥ 0, got -1.0",
        "run.yaml:5:20: optim.lr: must be > 0, got -0.1",
        "run.yaml:5:58: optim.schedule.at: must list epochs ≥ 1, got []",
        "run.yaml:6:10: scores.background: exclude, but this data set has no class named background; use include",
    ]:
        assert any(line.startswith(expected) for line in found), (expected, found)
    assert len(found) == 8


def test_a_wrong_data_section_hides_no_other_error(write):
    found = problems(write(BASE), "data.wrokers=3", "optim.lr=-1", "loss.gamma=-1")
    assert [line.split(": ")[1] for line in found] == ["data", "optim.lr", "loss.gamma"]


def test_network_and_transforms_are_checked_once_all_else_is_right(write):
    path = write(
        """\
name: a
data:
  name: camvid
  root: nowhere
  size: [32, 32]
  split: {kind: official}
  augment: [{name: HorizontalFlp}, {name: RandomCrop, height: -1, width: 3}, {name: VerticalFlip, q: 1}]
model: {name: unet, encoder: resnet19}
loss: {name: focal}
optim: {name: adam}
"""
    )
    found = problems(path)
    for line, expected in zip(
        found,
        [
            "run.yaml:7:13: data.augment.0: unknown transform 'HorizontalFlp'; did you mean 'HorizontalFlip'?",
            "run.yaml:7:55: data.augment.1.height: must be greater than or equal to 1",
            "run.yaml:7:78: data.augment.2: VerticalFlip: unknown key 'q'; allowed: p",
            "run.yaml:8:21: model.encoder: 'resnet19' is none of segmentation-models-pytorch; did you mean 'resnet18'",
        ],
        strict=True,
    ):
        assert line.startswith(expected)
    with pytest.raises(ConfigError) as error:
        load_config(path, ["seed=-1"])
    assert error.value.problems == ["command line: seed: must be greater than or equal to 0, got -1"]
    assert str(error.value).splitlines()[1:] == [
        "the network and the transforms of data.augment are checked once this is corrected"
    ]


HEAVY = (
    "SimpleITK",
    "albumentations",
    "lightning_fabric",
    "matplotlib",
    "monai",
    "nibabel",
    "pydicom",
    "segmentation_models_pytorch",
    "timm",
    "torchmetrics",
    "torchvision",
)


def test_mistakes_are_named_before_large_libraries_are_imported(write):
    path = write(BASE + "ablation: {baseline: a, arms: {a: {}}}\n")
    code = f"""\
import sys
from train_seg import main
for verb in ("train", "ablate", "check"):
    code = main([verb, {str(path)!r}, "loss.gamma=-1", "optim.lr=fast"])
    print(verb, code, [name for name in {HEAVY} if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ended.stdout == "train 2 []\nablate 2 []\ncheck 2 []\n"
    lines = ended.stderr.splitlines()
    told = [[line.split(": ")[1] for line in lines[first : first + 2]] for first in range(0, len(lines), 3)]
    assert told == 3 * [["optim.lr", "loss.gamma"]]


def test_a_check_builds_the_network_once_and_without_values(write, monkeypatch):
    built, original = [], models.build
    monkeypatch.setattr(models, "build", lambda *a, **k: built.append(original(*a, **k)) or built[-1])
    load_config(write(BASE), ["model.name=segformer"])
    (network,) = built
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}


def test_the_configuration_of_a_run_is_read_without_building_anything(write, monkeypatch):
    path = write(BASE)
    for module, name in ((models, "build"), (segloss, "build_loss"), (build, "build_adapter")):
        monkeypatch.setattr(module, name, None)
    found = load_saved(path)
    monkeypatch.undo()
    assert found == load_config(path)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("loss.gamma=-1", "loss.gamma: "),
        ("data.split={kind: kfold, folds: 1, fold: 0}", "data.split.folds: "),
        ("optim.lr=-1", "optim.lr: "),
    ],
)
def test_a_value_of_a_saved_run_that_is_out_of_range_is_one_line(write, monkeypatch, override, says):
    """It is named before anything is built of it for scoring, and no network is built to find it."""
    path = write(BASE)
    monkeypatch.setattr(models, "build", None)
    load_saved(path, ranges=True)
    load_saved(path, [override])  # a run is listed and reported whatever it holds
    with pytest.raises(ConfigError) as error:
        load_saved(path, [override], ranges=True)
    (line,) = error.value.problems
    assert says in line


def test_what_no_yaml_reader_takes_is_one_line(write):
    assert "nested too deeply" in problems(write("a: " + "[" * 600 + "]" * 600))[0]
    for value in ("2026-02-30", "1" + "0" * 5000):  # no day of a month, more digits than Python makes a number of
        (line,) = problems(write(f"name: {value}"))
        assert "a date or number that is none (" in line
        assert line.endswith("; put text into quotes")


def test_a_missing_section_and_a_missing_key(write):
    path = write("name: a\ndata: {name: camvid, split: {kind: official}}\nmodel: {}\nloss: {name: ce}\n")
    found = problems(path)
    assert "run.yaml:2:1: data: missing root; expected text" in found
    assert any(line.startswith("run.yaml:3:1: model: missing name; name is one of deeplabv3plus, ") for line in found)
    assert "run.yaml:1:1: optim: missing; expected a mapping whose name is one of adam, adamw, sgd" in found
    rest = "model: {name: unet}\nloss: {name: ce}\noptim: {name: adam, lr: 1}\n"
    path.write_text("name: a\ndata: {name: camvid, root: x, size: [1, 2, 3]}\n" + rest)
    assert problems(path) == [
        "run.yaml:2:1: data: missing split; expected a mapping whose kind is one of official, holdout, kfold, file",
        "run.yaml:2:31: data.size: expected [a whole number, a whole number] or null, got [1, 2, 3]",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "run.yaml:2:1: found duplicate key"),
        ("a: [1,", "run.yaml:1:7: expected the node content"),
        ("- 1", "run.yaml:1:1: expected a mapping of keys to values, got list"),
        ("a: !!python/object/apply:os.system [id]", "run.yaml:1:1: the tag"),
        ("1: 2", "is not text; put it in quotes"),
        ("extends: run.yaml", "circle"),
        ("extends: other.yaml", "run.yaml:1:1: extends: "),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{k}: &{k} [{','.join([f'*{p}'] * 10)}]\n" for p, k in zip("abcd", "bcde", strict=True)
        ), "more than 20000 values"),
    ],
)  # fmt: skip
def test_yaml_is_only_data(write, text, message):
    with pytest.raises(ConfigError) as error:
        load(write(text))
    assert message in str(error.value)


def test_extends_merges_mappings_and_replaces_what_is_renamed(write):
    write("x: {name: focal, gamma: 2}\ny: {a: 1, b: {c: 2, d: 3}}\nz: [1, 2]\nw: 5\nv: {p: 1}", "base.yaml")
    path = write("extends: base.yaml\nx: {name: ce}\ny: {b: {c: null, e: 4}}\nz: [3]\nw: null\nv: {q: 2}")
    assert load(path).plain() == {
        "x": {"name": "ce"},
        "y": {"a": 1, "b": {"d": 3, "e": 4}},
        "z": [3],
        "v": {"p": 1, "q": 2},
    }


def test_null_stays_null_where_it_means_something_else_than_the_default(write):
    path = write(BASE.replace("name: focal, gamma: 1.5", "name: sigmoid_focal, gamma: 1.5, alpha: 0.75"))
    (loss,) = load_config(path, ["loss.alpha=null", "loss.gamma=null"]).loss
    assert (loss.alpha, loss.gamma) == (None, 2.0)
    (loss,) = load_config(path, ["loss={name: tversky, alpha: 0.4}"]).loss
    assert loss.alpha == 0.4
    path = write(BASE.replace("name: focal, gamma: 1.5", "name: tversky, alpha: 0.4"))
    assert load_config(path, ["loss.alpha=null"]).loss[0].alpha == 0.3
    assert NULLS == {("loss", "sigmoid_focal", "alpha"), ("loss", "wce", "class_weights"), ("train", "epochs")}  # noqa: SIM300


def test_a_file_that_is_extended_is_found_by_its_folder(write, tmp_path):
    write("a: 1", "Mu\u0308ller.yaml")
    (tmp_path / "sub").mkdir()
    path = write("extends: ..\\M\u00fcller.yaml\nb: 2", "sub/run.yaml")
    assert load(path).plain() == {"a": 1, "b": 2}


def test_anchors_keep_the_kind_of_a_value_and_the_places_of_keys(write):
    path = write("a: {b: &t true, c: &n 3}\nd: [*t, *n]\ne: &m {f: 1}\ng:\n  <<: *m\nh: {<<: *m, i: 2}")
    found = load(path)
    assert json.dumps(found.plain()["d"]) == "[true, 3]"
    assert found.plain()["g"] == {"f": 1}
    assert found.find(["g", "f"])[0].at == f"{path}:5:3"
    assert found.find(["h", "i"])[0].at == f"{path}:6:13"


def test_the_same_name_keeps_the_mapping(write):
    write("x: {name: focal, gamma: 2, alpha: 1}", "base.yaml")
    assert load(write("extends: base.yaml\nx: {name: focal, gamma: 3}")).plain() == {
        "x": {"name": "focal", "gamma": 3, "alpha": 1}
    }


def test_overrides_are_yaml_merged_as_one_mapping(write):
    path = write(BASE)
    config = load_config(path, ["loss.name=ce", "loss.label_smoothing=0.1", "train.epochs=3", "data.size=[64, 48]"])
    assert (config.loss[0].name, config.loss[0].label_smoothing) == ("ce", 0.1)
    assert (config.train.epochs, config.data.size) == (3, (64, 48))
    assert load_config(path, ["loss.gamma=3"]).loss[0].gamma == 3
    assert load_config(path, ["optim.schedule=null"]).optim.schedule is None


def test_overrides_are_named_in_errors(write):
    assert problems(write(BASE), "loss.gama=1") == [
        "command line: loss: unknown key 'gama'; did you mean 'gamma'? "
        "allowed: alpha, class_weights, gamma, name, normalize, weight"
    ]
    for override in ("train.epochs", "=3", "a..b=3", "train.epochs=[", "train.epochs=!!python/none x"):
        with pytest.raises(ConfigError, match="command line: "):
            parse_overrides([override])
    with pytest.raises(ConfigError, match="given twice"):
        parse_overrides(["a.b=1", "a.b=2"])


def test_nothing_is_evaluated():
    assert parse_overrides(["a=__import__('os')"]).plain() == {"a": "__import__('os')"}


def test_adfl_is_dfl_and_acw(write):
    path = write(BASE)
    config = load_config(path, ["loss.name=adfl"])
    assert (config.loss[0].name, config.model.acw) == ("dfl", True)
    assert problems(path, "loss.name=adfl", "model.acw=false")[0].startswith(
        "command line: model.acw: false, but the loss adfl"
    )
    assert load_config(path).model.acw is None
    null = write(BASE.replace("{name: unet}", "{name: unet, acw: null}"))  # as the config.yaml of a run has it
    assert load_config(null, ["loss.name=adfl"]).model.acw is True


def test_what_the_file_lacks_is_told_of_the_file_whatever_is_overridden(write):
    assert problems(write(BASE.split("optim")[0]), "train.epochs=3") == [
        "run.yaml:1:1: optim: missing; expected a mapping whose name is one of adam, adamw, sgd"
    ]


def test_losses_that_all_weigh_nothing_are_refused(write):
    for loss in ("{name: ce, weight: 0}", "[{name: ce, weight: 0}, {name: dice, weight: {from: 0, to: 0}}]"):
        (found,) = problems(write(BASE), f"loss={loss}")
        assert "loss: every weight is 0, so nothing would be learnt" in found
    load_config(write(BASE), ["loss=[{name: ce, weight: 0}, {name: dice, weight: {from: 0, to: 1}}]"])


def test_deeplab_cannot_train_on_one_sample(write):
    found = problems(write(BASE), "model.name=deeplabv3plus", "train.batch_size=1")
    assert found[0].startswith("command line: train.batch_size: 1, but deeplabv3plus has batch normalisation")
    path = write(BASE.replace("{name: unet}", "{name: deeplabv3plus}") + "train:\n  epochs: 3\n  batch_size: 1\n")
    assert problems(path)[0].startswith("run.yaml:8:3: train.batch_size: 1")
    deep = ["model={name: unet, encoder: resnet18, depth: 5}", "data.size=[32, 32]"]
    (found,) = problems(write(BASE), *deep, "train.batch_size=1")
    assert "at data.size [32, 32] the network has batch normalisation over one value an image" in found
    assert load_config(write(BASE), [*deep, "train.batch_size=2"]).train.batch_size == 2
    assert load_config(write(BASE), [deep[0], "data.size=[64, 64]", "train.batch_size=1"]).train.batch_size == 1


def test_schema_describes_what_is_accepted(write):
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(json.loads(schema()))
    good = YAML(typ="safe", pure=True).load(BASE)
    assert not list(validator.iter_errors(good))
    for path in (ROOT / "configs").rglob("*.yaml"):
        assert not list(validator.iter_errors(YAML(typ="safe", pure=True).load(path))), path
    for one in ("0001", {"case": "0001", "reason": "blurred"}):
        assert not list(validator.iter_errors({**good, "data": {**good["data"], "exclude": [one]}}))
    for key, value in (("gama", 1), ("gamma", "x")):
        assert list(validator.iter_errors({**good, "loss": {**good["loss"], key: value}}))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.acw=yes", 'model.acw: expected true or false or a mapping or null, got "yes"'),
        (
            "model.acw={constraint: negative}",
            "model.acw.constraint: unknown value 'negative'; did you mean 'positive'?",
        ),
        ("model.acw={constrain: positive}", "model.acw: unknown key 'constrain'; did you mean 'constraint'?"),
        ("loss={name: cdb_ce, tau: fast}", 'loss.tau: expected a number or dynamic, got "fast"'),
        ("loss={name: ldam, drw_epoch: 60}", "loss.drw_epoch: 60 is never reached, train.epochs is"),
        ("loss.name=bce", "loss.name: unknown loss 'bce'; here that is 'sigmoid_ce'"),
        ("loss.weight=-1", "loss.weight: must be greater than or equal to 0, got -1"),
        ("loss=[]", "loss: at least 1 needed, got []"),
        ("loss.weight=small", 'loss.weight: expected a number or a mapping, got "small"'),
        ("loss.weight={from: 0.01}", "loss.weight: missing to; expected a number"),
        ("loss.weight={from: 0.01, to: -1}", "loss.weight.to: must be greater than or equal to 0, got -1"),
        ("optim.schedule={name: step, every: 5, warmup: five}", 'warmup: must be such as 5 epochs, got "five"'),
        ("optim.schedule={name: step, every: 5, warmup: -1}", "warmup: must be greater than or equal to 0, got -1"),
        ("optim.schedule={name: step, every: 5, warmup: 1.5}", "warmup: expected a whole number or text, got 1.5"),
        ("data.resident=yes", 'data.resident: expected auto or true or false, got "yes"'),
        ("data.split=kfold", 'data.split: expected a mapping, such as {kind: kfold}; got "kfold"'),
        ("scores.tolerance=.inf", "scores.tolerance: must be a finite number, got Infinity"),
        ("loss.weight={from: 0, to: 1, epochs: 3}", "loss.weight: unknown key 'epochs'; allowed: from, to"),
    ],
)
def test_one_line_for_one_mistake(override, message):
    (line,) = problems(ROOT / "configs/demo.yaml", override)
    assert message in line


def test_text_that_begins_as_yaml_is_told_to_be_quoted():
    with pytest.raises(ConfigError, match=r"put text into quotes: \"data\.images='\{name\}/t2\.nii\.gz'\""):
        parse_overrides(["data.images={name}/t2.nii.gz"])
    assert parse_overrides(["data.images='{name}/t2.nii.gz'"]).plain() == {"data": {"images": "{name}/t2.nii.gz"}}


def test_renamed_keys_are_refused_by_a_line_each_that_names_the_new_one(write):
    arms = """\
ablation:
  baseline: a
  arms: {a: {}}
  paper: {source: x, reading: case, values: {}}
"""
    path = write(BASE + "scores:\n  headline: {reading: case, score: mDSC}\n" + arms)
    assert problems(path) == [
        "run.yaml:7:3: scores.headline: has been renamed to scores.primary",
        "run.yaml:7:14: scores.primary.reading: has been renamed to scores.primary.aggregation",
        "run.yaml:7:29: scores.primary.score: has been renamed to scores.primary.metric",
        "run.yaml:11:22: ablation.paper.reading: has been renamed to ablation.paper.aggregation",
    ]
    assert problems(write(BASE), "scores.headline=null") == [
        "command line: scores.headline: has been renamed to scores.primary"
    ]
    assert problems(write(BASE), "train.compile=true") == [
        "command line: train.compile: has been renamed to train.step: false is eager now, true is compiled now"
    ]


def test_resident_data_need_device_forms(write):
    augment = "augment: [{name: HorizontalFlip}, {name: CLAHE}, {name: Rotate, interpolation: 2}]"
    path = write(BASE.replace("data: {", f"data: {{{augment}, "))
    load_config(path)
    one, other = problems(path, "data.resident=true")
    assert one.startswith("run.yaml:2:")
    assert ": data.augment.1: CLAHE has no device form; those that have: HorizontalFlip, VerticalFlip, " in one
    assert one.endswith("; or set data.resident: false")
    assert ": data.augment.2.interpolation: 2 has no device form, 1 has; or set data.resident: false" in other


def test_a_saved_configuration_with_renamed_keys_is_read(write):
    old = write(BASE + "scores: {headline: {reading: image, score: mIoU}, overlap: 0.5}\n")
    new = write(BASE + "scores: {primary: {aggregation: image, metric: mIoU}, overlap: 0.5}\n", "new.yaml")
    assert load_saved(old) == load_config(new)
    for value, step in (("false", "eager"), ("true", "compiled")):
        old = write(BASE + f"train: {{compile: {value}, epochs: 3}}\n")
        assert load_saved(old) == load_config(write(BASE + f"train: {{step: {step}, epochs: 3}}\n", "new.yaml"))
    record = {"name": "a", "baseline": "a", "smallest": 0.01, "seeds": [0], "folds": [0], "arms": {}}
    paper = {"source": "x", "reading": "image", "values": {"a": {"mDSC": 0.5}}}
    write(json.dumps(record | {"paper": paper}), "ablation.json")
    assert Record.read(old.parent).paper == PaperSection(source="x", aggregation="image", values={"a": {"mDSC": 0.5}})


def test_labelled_classes_must_be_classes_and_the_loss_must_take_them(write):
    path, known = write(BASE), "data.labelled={'0001*': [Sky, Car]}"
    assert problems(path, "data.labelled={a: [Sky]}")[0].endswith(
        "data.labelled: needs a class named background, the first of data.labels: what a case was not labelled for is "
        "part of it"
    )
    labels = "data.labels={background: [0, 1], Sky: 2, Car: [3, 4]}"
    assert load_config(path, [labels, known]).data.labelled == {"0001*": ["Sky", "Car"]}
    table = write("case,classes\n0001*,Sky; Car\n", "labelled.csv")
    assert load_config(path, [labels, f"data.labelled={table}"]).data.labelled == {"0001*": ["Sky", "Car"]}
    for wrong, says in {
        "data.labelled={a: [Skye]}": "data.labelled.a: unknown class 'Skye'; did you mean 'Sky'?",
        "data.labelled={a: []}": "data.labelled.a: names no class; leave such cases out with data.exclude",
        "data.labelled=absent.csv": "data.labelled: absent.csv: no such file",
        "loss.label_smoothing=0.1": "loss.label_smoothing: must be 0 with partial labels",
        "loss={name: logit_adjusted}": "LogitAdjustedLoss takes no partial labels (labelled)",
        "loss={name: boundary}": "BoundaryLoss takes no labelled",
        "scores.adjust={kind: prior}": "scores.adjust: is fitted on masks of all classes",
    }.items():
        overrides = [labels, known, wrong] if "labelled=" not in wrong else [labels, wrong]
        overrides += ["loss.name=ce"] if "smoothing" in wrong else []
        (found,) = problems(path, *overrides)
        assert says in found


def test_regions_are_unions_of_classes_and_the_loss_must_take_each_by_itself(write):
    path = write(BASE)
    given = [
        "data.labels={background: [0, 1], Sky: 2, Car: [3, 4], Tree: 5}",
        "data.regions={all: [2, 3, Tree], cars: [Car]}",
        "loss={name: dice, sigmoid: true}",
    ]
    config = load_config(path, given)
    adapter = build.build_adapter(config.data)
    regions = build.build_regions(config.data, adapter)
    assert regions.members.int().tolist() == [[0, 1, 1, 1], [0, 0, 1, 0]]
    assert build.outputs(config.data, adapter) == 2
    for wrong, says in {
        "loss={name: ce}": "loss.name: ce is for classes that exclude each other, but data.regions overlap",
        "loss={name: dice}": "loss.name: dice is for classes that exclude each other",
        "loss={name: sigmoid_ce, class_weights: [1, 2]}": "loss.class_weights: a pixel weighs by the regions",
        "loss={name: cb_focal, unit: image}": "loss.name: cb_focal: a pixel weighs by the regions",
        "data.regions={a: [2], b: [9]}": "data.regions.b: 9 is no class and no mask value of one; the classes are",
        "data.regions={a: [2], b: []}": "data.regions.b: has no class",
        "data.regions={a/b: [2], c: [Tree]}": "data.regions: 'a/b' cannot name a folder, which `predict` makes",
        "scores.largest_component=true": "scores.largest_component: is for classes, but data.regions are scored",
        "scores.adjust={kind: temperature}": "scores.adjust: is for classes, but data.regions are scored",
    }.items():
        key = wrong.split("=")[0]
        (found,) = problems(path, *(one for one in given if not one.startswith(f"{key}=")), wrong)
        assert says in found
    known = "data.labelled={'0001*': [Sky, Car, Tree], '0002*': [Sky, Tree]}"
    (found,) = problems(path, *given, known)
    assert "data.labelled.0002*: lacks Car of the region all, which a case is labelled for as a whole" in found
    apart = [given[0], "data.regions={cars: [Car], rest: [Sky, Tree]}", given[2], known]
    assert load_config(path, apart).data.labelled["0002*"] == ["Sky", "Tree"]
