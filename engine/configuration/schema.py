"""The JSON Schema of a configuration, for an editor's completion."""

from __future__ import annotations

import copy
import json
from typing import Any

import datasets

from .config import FullConfig


def schema() -> str:
    """What a YAML file may say, as JSON Schema: of a part, since what is left out may come from the file it extends."""
    return json.dumps(_partial(document()), indent=2)


def document() -> dict[str, Any]:
    """The JSON Schema of a whole configuration: the types, and what is expanded before they are checked."""
    document = FullConfig.model_json_schema()
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    document["title"] = "segloss configuration"
    document["description"] = "A run of segloss: data, network, loss, optimizer, training, scores."
    properties, definitions = document["properties"], document["$defs"]
    properties["extends"] = {"type": "string", "description": "Another YAML file, which this one is laid over."}
    adfl = definitions["LossSection_adfl"] = copy.deepcopy(definitions["LossSection_dfl"])
    adfl["properties"]["name"]["const"] = "adfl"
    adfl["description"] = "The loss dfl, and model.acw: true."
    items = properties["loss"]["items"]
    items["oneOf"].append({"$ref": "#/$defs/LossSection_adfl"})
    description = properties["loss"].pop("description", "")
    for section in definitions.values():
        keys = section.get("properties", {})
        if "sampler" in keys:
            keys["sampler"]["anyOf"].insert(0, {"enum": [*datasets.SAMPLERS]})
        if "exclude" in keys:
            keys["exclude"]["items"] = {"anyOf": [{"type": "string"}, keys["exclude"]["items"]]}
        if "smallest" in keys:
            one = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
            of_scores = keys["smallest"]
            keys["smallest"] = {"description": of_scores.pop("description"), "anyOf": [one, of_scores], "default": 0.01}
        if "arms" in keys:
            arms = keys["arms"]["patternProperties"]
            removed = {"type": "null", "description": "Removes an inherited arm."}
            arms |= {pattern: {"anyOf": [arm, removed]} for pattern, arm in arms.items()}
    properties["loss"] = {"description": description, "anyOf": [items, properties["loss"]]}
    return document


def _partial(node: Any) -> Any:
    """The schema of a part: what a file leaves out, a name too, may come from the one it extends."""
    if isinstance(node, list):
        return [_partial(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if key not in ("required", "discriminator")}
    return {"anyOf" if key == "oneOf" else key: _partial(value) for key, value in kept.items()}
