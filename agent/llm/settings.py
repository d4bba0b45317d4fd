"""The settings of talking to models, as the command line and `runoff.toml` set them."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from agent.llm.retry import RetryLimits
from agent.llm.tokens import BYTES_PER_TOKEN


class LlmSettings(BaseModel):
    """How models are called, whichever they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    in_flight: int = Field(default=16, ge=1)
    """Calls in flight at once at most, per model; fewer while the server says that it is overloaded."""
    attempts: int = Field(default=8, ge=1)
    """Attempts per call, the first included."""
    retry_seconds: float = Field(default=600.0, ge=0)
    """Seconds that a call waits between its attempts, in all."""
    timeout_seconds: float = Field(default=900.0, gt=0)
    """The longest that one attempt may take. Local servers on a CPU read long prompts for minutes."""
    connect_seconds: float = Field(default=10.0, gt=0)
    """The longest that opening a connection may take."""
    prime: bool = True
    """Whether the first request of a shared prefix goes alone, so that the others find it cached."""
    bytes_per_token: float = Field(default=BYTES_PER_TOKEN, gt=0)
    """Bytes of text per token, for estimates."""
    prices: tuple[Path, ...] = ()
    """TOML files with prices that go before runoff's own."""
    manual_poll_seconds: float = Field(default=0.2, gt=0)
    """How often `manual:` looks for a reply."""

    @property
    def retry(self) -> RetryLimits:
        """The limits of the retry layer."""
        return RetryLimits(attempts=self.attempts, seconds=self.retry_seconds)
