"""Pictures in, captions out: the programmatic way in, for the predictor and for evaluation while training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ogiri.captioning.model.conditioning import ConditionLimits, Conditions, encode_conditions, stack_conditions
from ogiri.captioning.model.controls import CONTROLS, ControlEdges, control_array
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.serving.banned import BannedWords, read_words
from ogiri.captioning.serving.beam import BeamSearch
from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.serving.line import Caption, Rules
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.ranking import RELEVANCE
from ogiri.captioning.serving.rescoring import Rescoring
from ogiri.captioning.serving.sampling import Floats
from ogiri.captioning.serving.search import Sampling, Search, run
from ogiri.captioning.serving.settings import read_settings
from ogiri.captioning.serving.state import State
from ogiri.captioning.serving.vocabulary import Vocabulary
from ogiri.parameter import ParameterError
from ogiri.record import Label

MAX_LABEL_CHARACTERS = 200
MAX_TEXT_CHARACTERS = 1000  # far more than becomes tokens; without a bound a request could make us tokenise 25 MB


class Captioner:
    """An engine, its tokenizer and the limits of what it writes. May be used by several threads at a time."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        limits: ConditionLimits,
        max_tokens: int,
        controls: ControlEdges | None = None,
        banned: BannedWords | None = None,
    ) -> None:
        """Args: max_tokens: of a line, the end token not counted. banned: what is never written, whatever is asked.

        Raises:
            ValueError: the graph and the tokenizer differ in vocabulary.
        """
        if engine.vocabulary != tokenizer.vocabulary:
            raise ValueError(
                f"the decoder has {engine.vocabulary} tokens and the tokenizer {tokenizer.vocabulary}: "
                "they are not of one training"
            )
        self.engine, self.tokenizer, self.limits, self.max_tokens = engine, tokenizer, limits, max_tokens
        self.controls = controls or ControlEdges()
        self._banned = banned or BannedWords()
        self._vocabulary = Vocabulary(tokenizer.surfaces, tokenizer.eos)

    def conditions(self, labels: Sequence[Label], detected_text: str) -> Conditions:
        """What is known beside the picture, as arrays; labels come best first."""
        best = labels[: self.limits.max_labels]
        kept = [Label(label.name[:MAX_LABEL_CHARACTERS], label.confidence) for label in best]
        return encode_conditions(kept, detected_text[:MAX_TEXT_CHARACTERS], self.tokenizer, self.limits)

    def check(self, parameters: Parameters) -> None:
        """See that the model can do what `parameters` asks.

        Raises:
            ParameterError: the model has fewer tokens than `min_length`, and no more positions; or it has not learned a
                control.
        """
        for name in CONTROLS:
            asked = getattr(parameters, name)
            if asked is not None and not self.controls.known(name):
                raise ParameterError(
                    f"{name} is {asked}: this model has not learned to write for a {name}, "
                    f"which takes training lines of different {name}s and the hyperparameter controls=true"
                )
        if self._budget(parameters) < parameters.min_length:
            raise ParameterError(
                f"min_length is {parameters.min_length}: this model writes at most {self.max_tokens} tokens"
            )

    def begin(
        self, maps: npt.NDArray[Any] | None, conditions: Sequence[Conditions], parameters: Sequence[Parameters]
    ) -> tuple[list[Search], Iterator[None]]:
        """Start the searches of several pictures, to be stepped together.

        Args:
            maps: (pictures, cells, channels), one row for all, or None where there are no pictures.
            conditions: one for each picture.
            parameters: one for each picture.

        Returns:
            The searches, and an iterator that makes one step at a time; once it ends, `Search.captions` has the lines.
        """
        searches = [self._search(each) for each in parameters]
        asked = [
            replace(one, controls=control_array(each.score, each.length))
            for one, each in zip(conditions, parameters, strict=True)
        ]
        logits, state = self.engine.prefill(maps, stack_conditions(asked), self.tokenizer.bos)
        return searches, self._steps(searches, parameters, logits, state)

    def begin_rescoring(self, lines: Sequence[tuple[int, ...]]) -> tuple[Rescoring, Iterator[None]]:
        """Find out how likely lines are with nothing known.

        Args:
            lines: tokens without begin and end.

        Returns:
            What has the answer, and an iterator that makes one step at a time until it does.
        """
        rescoring = Rescoring(lines, self.tokenizer.eos)
        if not lines:
            return rescoring, iter(())
        nothing = stack_conditions([self.conditions((), "")])
        logits, state = self.engine.prefill(None, nothing, self.tokenizer.bos)
        return rescoring, run(self.engine, logits, state, [rescoring])

    def caption(
        self,
        maps: npt.NDArray[Any] | None,
        conditions: Conditions,
        parameters: Parameters,
    ) -> list[Caption]:
        """The captions of one picture, best first, `num_candidates` of them.

        Args:
            maps: (1, cells, channels), or None where there is no picture.
            conditions: what else is known, as `self.conditions` gives it.
            parameters: how to write.
        """
        return self.captions(maps, [conditions], parameters)[0]

    def captions(
        self,
        maps: npt.NDArray[Any] | None,
        conditions: Sequence[Conditions],
        parameters: Parameters,
        batch: int = 32,
        stopping: Callable[[], bool] = lambda: False,
    ) -> list[list[Caption]]:
        """The captions of many pictures, in their order. A seed gives each picture what it gives it alone.

        Args:
            maps: (pictures, cells, channels) of any float type, memory-mapped if large, or None.
            conditions: one for each picture.
            parameters: how to write.
            batch: pictures stepped together.
            stopping: asked before each batch; once true, the pictures so far are returned.
        """
        captions: list[list[Caption]] = []
        for start in range(0, len(conditions), batch):
            if stopping():
                break
            part = conditions[start : start + batch]
            searches, steps = self.begin(
                None if maps is None else maps[start : start + batch], part, [parameters] * len(part)
            )
            for _ in steps:
                pass
            captions += [search.captions() for search in searches]
        return captions

    def _steps(
        self, searches: Sequence[Search], parameters: Sequence[Parameters], logits: Floats, state: State
    ) -> Iterator[None]:
        """Write the lines, write equal ones anew, and find out what the rankings need."""
        yield from run(self.engine, logits, state, searches)
        while again := [number for number, search in enumerate(searches) if search.redraw()]:
            yield from run(self.engine, logits[again], state.take(again), [searches[number] for number in again])
        asking = [search for search, each in zip(searches, parameters, strict=True) if each.ranking == RELEVANCE]
        pools = [{caption.tokens for caption in search.pool()} for search in asking]
        rescoring, steps = self.begin_rescoring([line for pool in pools if len(pool) > 1 for line in sorted(pool)])
        yield from steps
        for search in asking:
            search.unconditional = rescoring.means()

    def _search(self, parameters: Parameters) -> Search:
        rules = Rules(
            self._vocabulary,
            parameters.min_length,
            parameters.max_length,
            self._budget(parameters),
            BannedWords(parameters.banned_words, beside=self._banned),
        )
        return BeamSearch(rules, parameters) if parameters.num_beams > 1 else Sampling(rules, parameters)

    def _budget(self, parameters: Parameters) -> int:
        """Tokens of a line: more than the model was trained on where the request's minimum needs them."""
        if self.engine.grows:  # it may have no position for more
            return self.max_tokens
        return max(self.max_tokens, 2 * parameters.min_length)


def open_captioner(
    folder: Path, manifest: Mapping[str, Any], *, with_encoder: bool = True, threads: int | None = None
) -> Captioner:
    """The captioner of an artifact, or of a folder that is about to become one.

    Args:
        folder: where the graphs and the tokenizer lie.
        manifest: its `preprocessing`, `tokenizer` and `decoding` are read.
        with_encoder: load the encoder too; without it, maps are what goes in.
        threads: of a running graph, see `Engine`; evaluation of many pictures is faster with all processors.

    Raises:
        ValueError: something is missing from the manifest or does not fit; the message names it.
    """
    settings = read_settings(manifest)
    encoder = folder / settings.encoder_graph if with_encoder else None
    engine = Engine(folder / settings.decoder_graph, settings.state, encoder, threads)
    tokenizer = Tokenizer((folder / settings.tokenizer_file).read_bytes(), settings.lower_case)
    banned = BannedWords(() if settings.banned_file is None else read_words(folder / settings.banned_file))
    return Captioner(engine, tokenizer, settings.limits, settings.max_tokens, settings.controls, banned)
