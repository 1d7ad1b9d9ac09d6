"""The look of the book: its style, its recurring pictures, and explorers with sliders."""

from deepdynamics.figures.diagnoses import diagnosis
from deepdynamics.figures.means import means
from deepdynamics.figures.pictures import (
    cobweb,
    images,
    parameter_plane,
    particle_grid,
    particles,
    phase_diagram,
    spectrum,
    theory_and_experiment,
)
from deepdynamics.figures.planes import common_planes
from deepdynamics.figures.sliders import Explorer, explorer
from deepdynamics.figures.style import COLOURS, GREY, figure, use_style

__all__ = [
    "COLOURS",
    "GREY",
    "Explorer",
    "cobweb",
    "common_planes",
    "diagnosis",
    "explorer",
    "figure",
    "images",
    "means",
    "parameter_plane",
    "particle_grid",
    "particles",
    "phase_diagram",
    "spectrum",
    "theory_and_experiment",
    "use_style",
]
