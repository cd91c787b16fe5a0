"""Requests to be surveyed, and what is made of them."""

from typing import Any

import pytest

from service.gateway.survey import Survey, survey
from service.problems import Problem

BYTES = 1000
FRAMING, FEATURES, TOOL = 32, 1024, 1024
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
BY_URL = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}
IMAGE_URL = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}


def request(*blocks: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": list(blocks) or "Hi"}], **more}


def surveyed(*blocks: Any, **more: Any) -> Survey:
    return survey(request(*blocks, **more), BYTES)


def refused(*blocks: Any, **more: Any) -> tuple[str, str]:
    """The code of the refusal, and the field that it names."""
    with pytest.raises(Problem) as problem:
        surveyed(*blocks, **more)
    (error,) = problem.value.extra["errors"]
    assert problem.value.detail.startswith(error["field"])
    return problem.value.code, error["field"]


def nested(block: Any, levels: int) -> Any:
    """A block in a tool's result in a tool's result, and so on."""
    for _ in range(levels):
        block = {"type": "tool_result", "content": [block]}
    return block
