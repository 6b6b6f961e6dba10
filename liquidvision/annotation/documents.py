"""Reads JSON and XML documents, and says in one line what is wrong with a broken one."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from liquidvision.errors import UsageError

ET.register_namespace("xsi", "http://www.w3.org/2001/XMLSchema-instance")


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error


def read_json(path: Path) -> Any:
    """Read a JSON document in UTF-8, UTF-16 or UTF-32.

    Raises:
        UsageError: it cannot be read, or is no JSON.
    """
    content = read_bytes(path)
    try:
        return json.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON: {error}; is it complete?") from error


def dump_json(document: Any) -> bytes:
    """Return a JSON document in UTF-8, with indents."""
    return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()


def parse_xml(path: Path, content: bytes) -> ET.Element:
    """Return the root of an XML document.

    Raises:
        UsageError: it is no XML, or it declares entities, which can make a small document very large.
    """
    if b"<!ENTITY" in content:
        raise UsageError(f"{path} declares XML entities, which are not read; export it again")
    try:
        return ET.fromstring(content)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise UsageError(f"{path} is no XML: {error}; is it complete?") from error


def dump_xml(root: ET.Element) -> bytes:
    """Return an XML document in UTF-8, with indents."""
    ET.indent(root)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="utf-8") + b"\n"
