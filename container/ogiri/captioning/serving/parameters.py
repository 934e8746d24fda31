"""What a request may set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ogiri.captioning.model.controls import LENGTHS
from ogiri.captioning.serving.ranking import LIKELIHOOD, RANKINGS
from ogiri.parameter import ParameterError, bounds_of, from_json, from_strings, parameter

MAX_BANNED_WORDS = 1000
MAX_BANNED_WORD_CHARACTERS = 100
_SAMPLING_ONLY = ("best_of", "temperature", "top_k", "top_p")


@dataclass(frozen=True)
class Parameters:
    """Each with its type, range and default; the OpenAPI file and the documents are made from these lines."""

    num_candidates: int = parameter(1, "lines that come back; equal ones are allowed", minimum=1, maximum=16)
    best_of: int | None = parameter(
        None, "lines that are written to choose from; none = as many as come back", minimum=1, maximum=32
    )
    ranking: str = parameter(
        LIKELIHOOD,
        "which line is best: likelihood = that of the highest score; relevance = that to which the picture adds most; "
        "length_debiased = that of the highest score for its length",
        choices=RANKINGS,
    )
    temperature: float = parameter(0.9, "the lower, the less surprising; 0 = greedy", minimum=0, maximum=2)
    top_k: int = parameter(50, "only the best top_k tokens may come; 0 = all", minimum=0)
    top_p: float = parameter(0.92, "only the best tokens that hold this share of probability", above=0, maximum=1)
    repetition_penalty: float = parameter(
        1.1, "makes tokens that were written already less likely; above 1.2 Japanese suffers", minimum=1, maximum=2
    )
    num_beams: int = parameter(
        1, "above 1: deterministic beam search, without best_of, temperature, top_k and top_p", minimum=1, maximum=8
    )
    min_length: int = parameter(1, "characters of a line at least", minimum=1, maximum=1000)
    max_length: int = parameter(120, "characters of a line at most", minimum=1, maximum=1000)
    banned_words: tuple[str, ...] = parameter((), "never in a line, whatever their width, case or spacing")
    score: int | None = parameter(
        None, "how well the line is to be liked, 0 = least; any where it is not given", minimum=0, maximum=4
    )
    length: str | None = parameter(None, "how long the line is to be; any where it is not given", choices=LENGTHS)
    seed: int | None = parameter(None, "fixes the lines; none = other ones each time", minimum=0, maximum=2**63 - 1)
    stream: bool = parameter(False, "send the line piece by piece as it is written")

    @property
    def pool(self) -> int:
        """Lines that sampling writes."""
        return self.num_candidates if self.best_of is None else self.best_of

    def __post_init__(self) -> None:
        if self.pool < self.num_candidates:
            raise ParameterError(
                f"best_of is {self.best_of}: it must be at least num_candidates, which is {self.num_candidates}"
            )
        if self.num_beams > 1 and self.num_beams < self.num_candidates:
            raise ParameterError(
                f"num_beams is {self.num_beams}: it must be at least num_candidates, which is {self.num_candidates}"
            )
        if self.min_length > self.max_length:
            raise ParameterError(
                f"min_length is {self.min_length}: it must be at most max_length, which is {self.max_length}"
            )
        if len(self.banned_words) > MAX_BANNED_WORDS:
            raise ParameterError(f"banned_words has {len(self.banned_words)} words: at most {MAX_BANNED_WORDS}")
        if any(len(word) > MAX_BANNED_WORD_CHARACTERS for word in self.banned_words):
            raise ParameterError(f"banned_words has a word of more than {MAX_BANNED_WORD_CHARACTERS} characters")


def parameters_from_json(
    values: Mapping[str, Any], defaults: Parameters, attributes: Mapping[str, str] | None = None
) -> Parameters:
    """Parameters from the `parameters` object of a JSON request.

    Args:
        values: the object.
        defaults: what holds where it says nothing.
        attributes: custom attributes of the same request; what the object says too, it decides.

    Raises:
        ParameterError: unknown name, wrong type, out of range, or two that exclude each other; it names them.
    """
    beside = _known(attributes or {})
    parameters = parameters_from_attributes(beside, defaults)
    return _checked(from_json(Parameters, values, _values(parameters)), {**beside, **values})


def parameters_from_attributes(attributes: Mapping[str, str], defaults: Parameters) -> Parameters:
    """Parameters from the custom attributes of a request; unknown names there belong to somebody else.

    Raises:
        ParameterError: as `parameters_from_json`.
    """
    known = _known(attributes)
    return _checked(from_strings(Parameters, known, _values(defaults)), known)


def _known(attributes: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in attributes.items() if name in bounds_of(Parameters)}


def _checked(parameters: Parameters, given: Mapping[str, Any]) -> Parameters:
    for name in _SAMPLING_ONLY:
        if parameters.num_beams > 1 and given.get(name) is not None:
            raise ParameterError(f"{name} is given, but num_beams is {parameters.num_beams}: beams do not sample")
    return parameters


def _values(parameters: Parameters) -> dict[str, Any]:
    return {field.name: getattr(parameters, field.name) for field in dataclasses.fields(parameters)}
