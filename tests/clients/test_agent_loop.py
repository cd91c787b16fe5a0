"""An agent of twenty turns, with tools and streams: to the token, what its messages say is what is charged."""

from itertools import count
from uuid import uuid4

import anthropic
import pytest
from asking import MODEL, TOOL, cost_of, message_calls

TURNS = 20
TASK = [{"role": "user", "content": f"[sandbox tool_turns={TURNS - 1}] Do everything, step by step."}]
REQUEST = {"model": MODEL, "max_tokens": 200}


@pytest.fixture
def agrees(license, books, upstream):
    """`agrees(messages)`: assert that each of an agent's messages was charged once, and nothing else was."""

    def check(messages):
        assert [message.stop_reason for message in messages] == ["tool_use"] * (TURNS - 1) + ["end_turn"]
        costs = [cost_of(message.usage) for message in messages]
        # Each turn reads all turns before it.
        assert costs == sorted(costs)
        assert len(set(costs)) == TURNS
        assert [cost_of(usage) for usage in upstream.used] == costs
        assert message_calls(upstream) == TURNS
        assert books(license) == (100_000 - sum(costs), 0, costs)

    return check


def agent(ask):
    """The messages of an agent that calls `ask(messages)` until no tool is asked for any more."""
    conversation, answers = list(TASK), []
    while not answers or answers[-1].stop_reason == "tool_use":
        answers.append(ask(conversation))
        calls = [block for block in answers[-1].content if block.type == "tool_use"]
        assert [call.input["turn"] for call in calls] in ([], [len(answers)])
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "done"} for call in calls]
        conversation += [{"role": "assistant", "content": answers[-1].content}, {"role": "user", "content": results}]
    return answers


def test_an_agent_is_charged_what_its_messages_say(client, agrees):
    def ask(conversation):
        with client.messages.stream(messages=conversation, tools=[TOOL], **REQUEST) as stream:
            return stream.get_final_message()

    agrees(agent(ask))


def test_an_agent_that_asks_everything_twice_is_charged_once(client, agrees):
    """Under a key for each turn, as one whose every answer is lost."""

    def ask(conversation):
        keyed = {"extra_headers": {"Idempotency-Key": str(uuid4())}}
        answers = []
        for _ in range(2):
            with client.messages.stream(messages=conversation, tools=[TOOL], **REQUEST, **keyed) as stream:
                answers.append(stream.get_final_message())
        assert answers[0].to_dict() == answers[1].to_dict()
        return answers[1]

    agrees(agent(ask))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("options", [{}, {"thread": False}])
def test_the_sdk_s_own_tool_runner_is_charged_what_its_messages_say(client, agrees, streamed, options):
    """It asks for a thread unless it is told not to, which Obol does not take: nobody can bound what
    the server remembers. Then it has to go on without one, as it does where a thread is not supported."""
    turns = count(1)

    @anthropic.beta_tool
    def next_step(turn: int) -> str:
        """What is to be done next.

        Args:
            turn: the number of the turn.
        """
        assert turn == next(turns)
        return "done"

    runner = client.beta.messages.tool_runner(messages=TASK, tools=[next_step], stream=streamed, **REQUEST, **options)
    agrees([answer.get_final_message() if streamed else answer for answer in runner])
