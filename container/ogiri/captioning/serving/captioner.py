"""Pictures in, captions out: the programmatic way in, for the predictor and for evaluation while training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy.typing as npt

from ogiri.captioning.model.conditioning import ConditionLimits, Conditions, encode_conditions
from ogiri.captioning.model.controls import CONTROLS, ControlEdges, control_array
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.serving.banned import BannedWords, read_words
from ogiri.captioning.serving.beam import BeamSearch
from ogiri.captioning.serving.choice import open_engine
from ogiri.captioning.serving.decoding import Decoding, Start
from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.serving.interface import CaptionEngine
from ogiri.captioning.serving.line import Caption, Rules
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.ranking import RELEVANCE
from ogiri.captioning.serving.rescoring import Rescoring
from ogiri.captioning.serving.search import Sampling, Search
from ogiri.captioning.serving.settings import read_settings
from ogiri.captioning.serving.vocabulary import Vocabulary
from ogiri.parameter import ParameterError
from ogiri.record import Label

MAX_LABEL_CHARACTERS = 200
MAX_TEXT_CHARACTERS = 1000  # far more than becomes tokens; without a bound a request could make us tokenise 25 MB


class Writing:
    """The task of writing the lines of one picture: the search, its second tries, and what its ranking needs."""

    def __init__(
        self,
        maps: npt.NDArray[Any] | None,
        conditions: Conditions,
        search: Search,
        weighs: bool,
        rescoring: Callable[[Sequence[tuple[int, ...]]], Start],
    ) -> None:
        """Args: weighs: whether the ranking asks how likely lines are with nothing known; `rescoring` finds out."""
        self.search = search
        self._start = Start(maps, conditions, search)
        self._begun, self._weighs, self._rescoring = False, weighs, rescoring
        self._read: Rescoring | None = None

    def begin(self) -> Start | None:
        """See `decoding.Task.begin`."""
        if not self._begun:
            self._begun = True
            return self._start
        if self._read is not None:
            self.search.unconditional = self._read.means()
            return None
        if self.search.redraw():
            return self._start
        lines = sorted({caption.tokens for caption in self.search.pool()}) if self._weighs else []
        if len(lines) < 2:
            return None
        start = self._rescoring(lines)
        self._read = cast(Rescoring, start.stepped)
        return start


class Captioner:
    """An engine, its tokenizer and the limits of what it writes. May be used by several threads at a time."""

    def __init__(
        self,
        engine: CaptionEngine,
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

    def decoding(self) -> Decoding:
        """A batch for `writing`s to share."""
        known = self.limits.max_labels + self.limits.max_text_pieces
        return Decoding(self.engine, self.tokenizer.bos, self.max_tokens + 1, known)

    def writing(self, maps: npt.NDArray[Any] | None, conditions: Conditions, parameters: Parameters) -> Writing:
        """The task of writing the lines of one picture.

        Args:
            maps: (1, cells, channels), or None where there is no picture.
            conditions: what else is known, as `self.conditions` gives it.
            parameters: how to write.
        """
        asked = replace(conditions, controls=control_array(parameters.score, parameters.length))
        return Writing(maps, asked, self._search(parameters), parameters.ranking == RELEVANCE, self.rescoring)

    def rescoring(self, lines: Sequence[tuple[int, ...]]) -> Start:
        """What finds out how likely lines are with nothing known; at most `MIN_ROWS` of them.

        Args:
            lines: tokens without begin and end.
        """
        return Start(None, self.conditions((), ""), Rescoring(lines, self.tokenizer.eos))

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
            batch: pictures written side by side.
            stopping: asked before each picture; once true, those that were begun are returned.
        """
        writings: list[Writing] = []
        decoding = self.decoding()
        while True:
            while decoding.tasks < batch and len(writings) < len(conditions) and not stopping():
                number = len(writings)
                row = None if maps is None else maps[0 if len(maps) == 1 else number][None]
                writings.append(self.writing(row, conditions[number], parameters))
                decoding.add(writings[-1])
            if not decoding.tasks:
                return [writing.search.captions() for writing in writings]
            for ended in decoding.step():
                if ended.error is not None:
                    raise ended.error

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
    folder: Path,
    manifest: Mapping[str, Any],
    *,
    with_encoder: bool = True,
    graphs: bool = False,
    threads: int | None = None,
) -> Captioner:
    """The captioner of an artifact, or of a folder that is about to become one.

    Args:
        folder: where the graphs and the tokenizer lie.
        manifest: its `preprocessing`, `tokenizer` and `decoding` are read.
        with_encoder: load the encoder too; without it, maps are what goes in, and the graph runs on the CPU.
        graphs: run the graphs on the CPU, whatever GPU there is.
        threads: of a running graph, see `Engine`; evaluation of many pictures is faster with all processors.

    Raises:
        ValueError: something is missing from the manifest or does not fit; the message names it.
    """
    settings = read_settings(manifest)
    if with_encoder and not graphs:
        engine = open_engine(folder, manifest, settings, threads)
    else:
        encoder = folder / settings.encoder_graph if with_encoder else None
        engine = Engine(folder / settings.decoder_graph, settings.state, encoder, threads)
    tokenizer = Tokenizer((folder / settings.tokenizer_file).read_bytes(), settings.lower_case)
    banned = BannedWords(() if settings.banned_file is None else read_words(folder / settings.banned_file))
    return Captioner(engine, tokenizer, settings.limits, settings.max_tokens, settings.controls, banned)
