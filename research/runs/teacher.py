"""Loading of the teacher of distillation from the folder of its run."""

from research.config import Config, ConfigError, Named
from research.data import Dataset, InputSpec
from research.records import RecordError
from research.runs.load import load_trained
from research.training.checkpoint import CheckpointError
from research.training.distillation import Teacher, TeacherArrays


def has_teacher(config: Config) -> bool:
    """Return whether a run learns from a teacher."""
    return config.loss.name == "distillation"


def load_teacher(config: Config, inputs: Dataset | InputSpec) -> tuple[Teacher, TeacherArrays]:
    """Return the teacher of a run, and its parameters and its state.

    Args:
        config: the configuration of the run, whose loss is `distillation`.
        inputs: the images and classes of the run.

    Raises:
        ConfigError: `loss.teacher` is not the folder of a completed run on such images and classes.
    """
    folder = config.teacher
    try:
        trained = load_trained(folder)
    except (OSError, RecordError, CheckpointError, ConfigError) as error:
        raise ConfigError(
            f"loss.teacher={folder} is not allowed: {error}; give the folder of a completed run"
        ) from error
    theirs = trained.inputs
    if (theirs.image_shape, theirs.class_names) != (inputs.image_shape, inputs.class_names):
        raise ConfigError(
            f"loss.teacher={folder} is not allowed: it was trained on images of {list(theirs.image_shape)} "
            f"with {len(theirs.class_names)} classes, and this run has images of {list(inputs.image_shape)} "
            f"with {len(inputs.class_names)} classes; give a run on the same images and classes"
        )
    # from pixels p, the student gets (p - mean) / std, and the teacher needs (p - its mean) / its std
    channels = list(zip(inputs.mean, inputs.std, theirs.mean, theirs.std, strict=True))
    scale = tuple(std / its_std for _, std, _, its_std in channels)
    offset = tuple((mean - its_mean) / its_std for mean, _, its_mean, its_std in channels)
    return Teacher(trained.net, scale, offset), (trained.params, trained.model_state)


def without_teacher(loss: Named) -> Named:
    """Return a loss without the path of a teacher, so that runs with other teachers can share a program."""
    return Named(loss.name, tuple(item for item in loss.items if item[0] != "teacher"))
