"""Training and evaluating networks on features."""

from typing import TYPE_CHECKING

from ...kernels.lazy import lazily

if TYPE_CHECKING:
    from .checkpoint import Checkpoint
    from .cross_validation import cross_validate, parse_numbers
    from .data import from_store
    from .distributed import local_device, process_group
    from .evaluation import evaluate
    from .models import MODELS, ESC50Model, count_macs, count_parameters
    from .recipes import ALIASES, RECIPES, Recipe
    from .whole import Start, fitting, named, train

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
