"""Synthetic clips of a figure doing things that no single frame can distinguish."""

from .actions import ACTIONS
from .render import Rendered, render_clip

__all__ = ["ACTIONS", "Rendered", "render_clip"]
