"""From a folder to a configuration: its layout, what its masks hold, a fingerprint, and rules that choose the rest."""
