"""From a YAML file to checked sections, and from these to objects."""
