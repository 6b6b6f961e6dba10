"""Heads turn embeddings into logits, with memory."""

from typing import Any

from liquidvision.models.heads.base import Head
from liquidvision.models.heads.liquid_filter import FILTER_KIND, LiquidFilter, LiquidFilterConfig
from liquidvision.models.heads.liquid_head import LiquidHead, LiquidHeadConfig


def head_from_config(config: dict[str, Any]) -> Head:
    """Return the head that a config.json describes, without its weights.

    Raises:
        TypeError, KeyError, UsageError: the configuration is damaged or unknown.
    """
    if config.get("kind") == FILTER_KIND:
        return LiquidFilter(LiquidFilterConfig.from_json(config))
    return LiquidHead(LiquidHeadConfig.from_json(config))
