"""What can be read off a network: parameters, MACs, receptive fields, activations, gradients and times."""

from research.analysis.activations import activation_statistics
from research.analysis.effective_field import effective_size, influence
from research.analysis.gradient_check import GradientError, check_gradients
from research.analysis.gradients import gradient_statistics
from research.analysis.layer_profile import LayerProfile, Pass, profile_layers
from research.analysis.macs import macs
from research.analysis.parameters import count_parameters
from research.analysis.receptive_field import Field, receptive_fields
from research.analysis.summary import LayerSummary, as_dict, format_summary, summarize

__all__ = [
    "Field",
    "GradientError",
    "LayerProfile",
    "LayerSummary",
    "Pass",
    "activation_statistics",
    "as_dict",
    "check_gradients",
    "count_parameters",
    "effective_size",
    "format_summary",
    "gradient_statistics",
    "influence",
    "macs",
    "profile_layers",
    "receptive_fields",
    "summarize",
]
