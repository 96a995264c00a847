"""What can be read off a network: parameters, MACs, receptive fields, activations and gradients."""

from research.analysis.activations import activation_statistics
from research.analysis.effective_field import effective_size, influence
from research.analysis.gradients import gradient_statistics
from research.analysis.macs import macs
from research.analysis.parameters import count_parameters
from research.analysis.receptive_field import Field, receptive_fields
from research.analysis.summary import LayerSummary, as_dict, format_summary, summarize

__all__ = [
    "Field",
    "LayerSummary",
    "activation_statistics",
    "as_dict",
    "count_parameters",
    "effective_size",
    "format_summary",
    "gradient_statistics",
    "influence",
    "macs",
    "receptive_fields",
    "summarize",
]
