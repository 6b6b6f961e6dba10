"""The card of the bundled model `actions`."""

from liquidvision import Model
from tools.actions.fit import Recipe


def card_of(model: Model, recipe: Recipe, *, clips: int) -> str:
    """README.md of the model's folder."""
    return f"# {model.name}\n"
