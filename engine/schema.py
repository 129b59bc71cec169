"""The JSON Schema of a configuration, for an editor's completion."""

from __future__ import annotations

import copy
import json

from .config import FullConfig


def schema() -> str:
    """What a YAML file may say, as JSON Schema: the types, and what is expanded before they are checked."""
    document = FullConfig.model_json_schema()
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    document["title"] = "segloss configuration"
    document["description"] = "A run of segloss: data, network, loss, optimizer, training, scores."
    document["required"] = []  # what a file leaves out may come from the one it extends
    properties, definitions = document["properties"], document["$defs"]
    properties["extends"] = {"type": "string", "description": "Another YAML file, which this one is laid over."}
    adfl = definitions["LossSection_adfl"] = copy.deepcopy(definitions["LossSection_dfl"])
    adfl["properties"]["name"]["const"] = "adfl"
    adfl["description"] = "The loss dfl, and model.acw: true."
    items = properties["loss"]["items"]
    items["oneOf"].append({"$ref": "#/$defs/LossSection_adfl"})
    items["discriminator"]["mapping"]["adfl"] = "#/$defs/LossSection_adfl"
    description = properties["loss"].pop("description", "")
    properties["loss"] = {"description": description, "anyOf": [items, properties["loss"]]}
    return json.dumps(document, indent=2)
