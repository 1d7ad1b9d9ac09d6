"""Stored results: what was computed once at full size, labelled, with everything that says what it is.

A result is one file `<key>.npz`: named arrays with their dimensions and coordinates, so that reading them needs no
constant of today's code, and a provenance: parameters, seeds, digest of the code, machine, date, and what the
experiment adds (hash of the data, seconds).

A change of code neither throws a result away nor leaves it unquestioned: `verify` computes a few cells of it again, and
`state` says what is known. `python -m deepdynamics.results` computes and verifies the results of the book.
"""

from deepdynamics.results.code import digest
from deepdynamics.results.files import checksum_table, load, save
from deepdynamics.results.packing import machine
from deepdynamics.results.places import ResultMissing, checksums
from deepdynamics.results.runs import store
from deepdynamics.results.states import State, state, verify

__all__ = [
    "ResultMissing",
    "State",
    "checksum_table",
    "checksums",
    "digest",
    "load",
    "machine",
    "save",
    "state",
    "store",
    "verify",
]
