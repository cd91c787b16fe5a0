"""The model's API, through the Anthropic SDK. The only module that talks to it.

Every way in which a call can fail becomes a Problem here, so that whoever holds credits for
it has one thing to catch.
"""

import json
import re
from typing import Any, NoReturn

import anthropic

from .pricing import Usage
from .problems import Problem

Message = dict[str, Any]

# The upstream's words are passed on for these: they are about the request. What it says with
# 401, 402 and 403 is about our account with it and stays here.
_ABOUT_THE_REQUEST = {400, 404, 408, 413, 422, 429}

_CONNECT_TIMEOUT_S = 10

# Far above any model's context, and low enough that no price makes it overflow a bigint.
_MOST_TOKENS = 10**9


class Upstream:
    """A client of the Messages API, safe under threads.

    Args:
        api_key: our key with the upstream.
        base_url: where it is; None for the SDK's own default.
        timeout_s: the longest silence before an answer counts as failed.
    """

    def __init__(self, api_key: str, base_url: str | None, timeout_s: float) -> None:
        self._client = anthropic.Anthropic(
            api_key=api_key,
            base_url=base_url,
            timeout=anthropic.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s)),
            # A retry is a second call that may be charged to us; the client decides on it.
            max_retries=0,
        )

    def create_message(self, body: dict[str, Any]) -> Message:
        """One answer, whole.

        Returns the message as the wire has it, with `content` blocks, `stop_reason` and `usage`.

        Raises:
            Problem: upstream_error (with `upstream_status` when there was one) or
                upstream_timeout. The client has not got an answer, and must not pay.
        """
        try:
            # Unlike messages.create, post() refuses neither unknown fields nor long answers.
            message = self._client.post("/v1/messages", cast_to=object, body=body)
        except anthropic.APIStatusError as error:
            _refuse(error)
        except anthropic.APITimeoutError as error:
            raise Problem("upstream_timeout", "The model did not answer in time. Nothing was charged.") from error
        except anthropic.APIConnectionError as error:
            raise Problem("upstream_error", "The model could not be reached. Nothing was charged.") from error
        except (anthropic.AnthropicError, ValueError, RecursionError) as error:
            raise _unreadable() from error
        return _checked(_parsed(message))


def _refuse(error: anthropic.APIStatusError) -> NoReturn:
    status = error.status_code
    said = f" It said: {error.api_message}" if status in _ABOUT_THE_REQUEST and error.api_message else ""
    retry_after = error.response.headers.get("retry-after", "")
    raise Problem(
        "upstream_error",
        f"The model's API answered with status {status}. Nothing was charged.{said}",
        {"upstream_status": status},
        retry_after_s=int(retry_after) if re.fullmatch("[0-9]{1,6}", retry_after) else None,
    ) from error


def _unreadable() -> Problem:
    return Problem("upstream_error", "The model's answer could not be read. Nothing was charged.")


def _parsed(message: object) -> object:
    """The SDK hands over text when the upstream did not say that it sends JSON."""
    try:
        parsed = json.loads(message) if isinstance(message, str) else message
        # Python reads NaN and Infinity, and other clients could not read what they paid for.
        json.dumps(parsed, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise _unreadable() from error
    return parsed


def _checked(message: object) -> Message:
    """Refuse what cannot be delivered or cannot be charged: better no answer than a free one."""
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        raise _unreadable()
    if not all(isinstance(block, dict) for block in message["content"]) or usage_of(message) is None:
        raise _unreadable()
    if not isinstance(message.get("model"), str) or not isinstance(message.get("stop_reason"), str):
        raise _unreadable()
    if message["stop_reason"] == "refusal" and not text_of(message):
        # The upstream shows tokens for these and charges nothing; nor do we.
        raise Problem("upstream_error", "The model refused to answer. Nothing was charged.")
    return message


def text_of(message: Message) -> str:
    """The text blocks of an answer, joined."""
    texts = [block.get("text") for block in message["content"] if block.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


def usage_of(message: Message) -> Usage | None:
    """Tokens of each class, or None when the answer does not say.

    Source: the `usage` object of the Messages API. `input_tokens` counts neither cache writes
    nor cache reads; a write that is not split counts as one of five minutes.
    """
    usage = message.get("usage")
    if not isinstance(usage, dict):
        return None
    split = usage.get("cache_creation")
    split = split if isinstance(split, dict) else {}
    written = usage.get("cache_creation_input_tokens") or 0
    written_1h = split.get("ephemeral_1h_input_tokens") or 0
    written_5m = split.get("ephemeral_5m_input_tokens")
    if written_5m is None:
        written_5m = 0
    if type(written) is int and type(written_1h) is int and type(written_5m) is int:
        # What the split leaves out was written all the same.
        written_5m = max(written_5m, written - written_1h)
    counts: dict[str, Any] = {
        "input": usage.get("input_tokens"),
        "output": usage.get("output_tokens"),
        "cache_write_5m": written_5m,
        "cache_write_1h": written_1h,
        "cache_read": usage.get("cache_read_input_tokens") or 0,
    }
    if not all(type(count) is int and 0 <= count <= _MOST_TOKENS for count in (*counts.values(), written)):
        return None
    return counts
