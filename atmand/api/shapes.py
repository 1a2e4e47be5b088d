"""What the models of the API's answers are made of."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["Answer", "Count", "Shape", "Time"]


def _check_time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time without its zone")
    return text


Time = Annotated[str, AfterValidator(_check_time)]
Count = Annotated[int, Field(ge=0)]


class Shape(BaseModel):
    """A part of an answer: exactly these keys, of exactly these types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Answer(Shape):
    """A whole answer: it says what it is of."""

    sequence: Count
    """The journal's sequence that the answer is of."""
    market_time: Time
