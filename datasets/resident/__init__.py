"""Data in the memory of the device that computes: gathered, augmented and normalised there, batch by batch."""

from .augment import BatchAugmentation, device_form
from .loader import ResidentLoader, ResidentSamples, resident_bytes, why_not_resident

__all__ = [
    "BatchAugmentation",
    "ResidentLoader",
    "ResidentSamples",
    "device_form",
    "resident_bytes",
    "why_not_resident",
]
