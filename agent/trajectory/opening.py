"""How a trajectory's conversation begins, and how it grows.

What all samples share comes first and is byte for byte equal: instructions, files, issue, with a prompt-cache
breakpoint behind them. With `testing_context = "files"` the testing and editing stages share that prefix too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.instances import Instance
from agent.llm.messages import Message, Part, Reply, Request
from agent.llm.tokens import estimate
from agent.prompts.render import fence, render
from agent.trajectory.settings import TrajectorySettings


def opening(instance: Instance, files: str = "") -> Message:
    """The system message. `files` is the packed context as text; empty for none."""
    instructions = render("trajectory_instructions", repo=instance.repo, version=instance.version)
    parts = [Part("instructions", instructions + "\n\n")]
    if files:
        parts.append(Part("files", f"These are files of the repository:\n\n{files}\n\n"))
    issue = fence(instance.statement, "issue")
    parts.append(Part("issue", f"This is the issue:\n\n{issue}\n", cache=True))
    return Message("system", tuple(parts))


@dataclass(slots=True)
class Conversation:
    """The messages so far; each turn adds the model's reply and what it led to."""

    messages: list[Message]
    settings: TrajectorySettings

    @classmethod
    def start(cls, system: Message, step: str, settings: TrajectorySettings) -> Conversation:
        """System message and first step."""
        return cls([system, Message("user", (Part("step", step),))], settings)

    def request(self) -> Request:
        """The request for the next turn; a breakpoint behind the last message lets the turns share a cache too."""
        last = self.messages[-1]
        marked = Message(last.role, (*last.parts[:-1], Part(last.parts[-1].name, last.parts[-1].text, cache=True)))
        return Request(
            (*self.messages[:-1], marked), temperature=self.settings.temperature, max_tokens=self.settings.max_tokens
        )

    def add(self, reply: Reply, feedback: str) -> None:
        """One more turn. An empty reply is shown as such, since servers refuse empty messages."""
        self.messages.append(Message("assistant", (Part("reply", reply.text.rstrip() or "(empty)"),)))
        self.messages.append(Message("user", (Part("feedback", feedback),)))

    def restart(self) -> None:
        """Forget all turns: a model that repeats itself word for word gets further from a clean start."""
        del self.messages[2:]

    @property
    def full(self) -> bool:
        """Whether the next request would pass the window."""
        return tokens_of(self.messages) + self.settings.max_tokens > self.settings.window_tokens


def tokens_of(messages: Sequence[Message]) -> int:
    """Estimated tokens of the messages."""
    return sum(estimate(part.text) for message in messages for part in message.parts)
