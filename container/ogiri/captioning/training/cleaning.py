"""What is left out of the records before anything is trained, and the banned words, which decide it too."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from ogiri.captioning.data.lines import Dropped, by_reason, drop_unfit
from ogiri.captioning.data.records import Records
from ogiri.captioning.serving.banned import BannedWords, check_words, read_words
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.task import UserError

DROPPED_FILE = "dropped.jsonl"
LIST_CHANNELS = ("records", "pretrained", "training")

log = logging.getLogger(__name__)


def banned_words(channels: Mapping[str, Path], hp: CaptionHyperparameters) -> tuple[str, ...]:
    """The words of the hyperparameter `banned_words`, and of the list that `banned_words_file` names.

    Args:
        channels: of the job; the list lies in one of `LIST_CHANNELS`.
        hp: of the job.

    Raises:
        UserError: the list is in no channel, or empty; it or the hyperparameter has what no list may have.
    """
    words = [" ".join(word.split()) for word in hp.banned_words]  # the list of the artifact has one word a line
    try:
        if hp.banned_words_file:
            path = _find(channels, hp.banned_words_file)
            listed = read_words(path)
            if not listed:
                raise ValueError(f"{path} has no words: write one a line, or leave banned_words_file out")
            log.info("%d banned words from %s", len(listed), path)
            words += listed
        return check_words(words, "the job")
    except ValueError as error:
        raise UserError(str(error)) from error


def clean(
    records: Records, hp: CaptionHyperparameters, banned: Sequence[str], output: Path
) -> tuple[Records, list[Dropped]]:
    """Leave out what should not be learned, and list it in `DROPPED_FILE`.

    Args:
        records: as they were read.
        hp: of the job.
        banned: words that no line may have.
        output: the folder for the list.

    Returns:
        What is left, and what is not.

    Raises:
        UserError: less than `min_records` is left.
    """
    kept, dropped = drop_unfit(records, hp.max_characters, BannedWords(banned).found_in)
    output.mkdir(parents=True, exist_ok=True)
    (output / DROPPED_FILE).write_text(
        "".join(json.dumps(dataclasses.asdict(one), ensure_ascii=False) + "\n" for one in dropped),
        encoding="utf-8",
        errors="backslashreplace",  # half of a surrogate pair may be what was wrong
    )
    if len(kept) < hp.min_records:
        reasons = ", ".join(f"{len(some)} have {reason}" for reason, some in by_reason(dropped))
        raise UserError(
            f"{len(kept)} of {len(records)} lines are left, fewer than the {hp.min_records} of the hyperparameter "
            f"min_records: {reasons}. Mend the lines that {DROPPED_FILE} of the job's output lists, or look at "
            "max_characters and at the banned words"
        )
    return kept, dropped


def _find(channels: Mapping[str, Path], name: str) -> Path:
    if Path(name).name != name:
        raise ValueError(f"banned_words_file is {name!r}: it must be a plain file name, without folders")
    folders = [channels[channel] for channel in LIST_CHANNELS if channel in channels]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    places = ", ".join(map(str, folders))
    raise ValueError(f"banned_words_file is {name!r}, and there is no such file in {places}: put it into one of them")
