"""The file evaluation.json: its format, version and encoding."""

import json
from collections.abc import Mapping
from typing import Any

EVALUATION_FORMAT, EVALUATION_VERSION = "liquidvision-evaluation", 1


def encode_evaluation(evaluation: Mapping[str, Any]) -> bytes:
    """Encode an evaluation as JSON; bytes of a file name that are not valid text are escaped."""
    text = json.dumps(evaluation, indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"
