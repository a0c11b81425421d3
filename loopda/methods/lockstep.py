"""Loops that advance together, so that what they ask of a network at the same time takes one call of it.

A loop is a generator: where it needs a network, it yields a list of requests and is given their answers. So each loop
is written by itself, as on paper, and no loop knows what it shares a call with.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

Request = TypeVar("Request")
Result = TypeVar("Result")
Loop = Generator[list[Request], list[Any], Result]


def lockstep(answer: Callable[[list[Request]], Sequence[Any]], *loops: Loop[Request, Result]) -> list[Result]:
    """The results of `loops`; `answer` gives the answers to all that they ask for at the same time, in order."""
    results: dict[int, Result] = {}
    answers: dict[int, list[Any] | None] = dict.fromkeys(range(len(loops)))
    while answers:
        asked: dict[int, list[Request]] = {}
        for place, given in answers.items():
            try:
                asked[place] = loops[place].send(given)
            except StopIteration as ended:
                results[place] = ended.value
        replies = iter(answer([request for requests in asked.values() for request in requests]))
        answers = {place: [next(replies) for _ in requests] for place, requests in asked.items()}
    return [results[place] for place in range(len(loops))]
