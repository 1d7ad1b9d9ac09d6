"""The data sets of the book and two pretrained networks. `python -m deepdynamics.data fetch` downloads them."""

from deepdynamics.data.datasets import (
    DATASETS,
    PRETRAINED,
    DataMissing,
    Dataset,
    Normalise,
    Pretrained,
    Provenance,
    available,
    inventory,
    load,
    load_pretrained,
)
from deepdynamics.data.formats import CorruptData

__all__ = [
    "DATASETS",
    "PRETRAINED",
    "CorruptData",
    "DataMissing",
    "Dataset",
    "Normalise",
    "Pretrained",
    "Provenance",
    "available",
    "inventory",
    "load",
    "load_pretrained",
]
