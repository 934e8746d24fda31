import dataclasses
import logging

import numpy as np
import pytest

from ogiri.captioning.data.duplicates import HASH_BYTES
from ogiri.captioning.data.features import Broken, PictureArrays
from ogiri.captioning.data.lines import Dropped
from ogiri.captioning.data.records import RecordsBuilder
from ogiri.captioning.model.controls import ControlEdges
from ogiri.captioning.training.dataset import Dataset, Part, build_dataset, control_levels
from ogiri.record import Label, Record
from ogiri.task import UserError
from tests.captioning.training.small import PICTURES, hyperparameters, maps, records


def keys(part: Part) -> list[str]:
    return [picture.key for picture in part.pictures]


def test_no_picture_and_no_line_is_lost_and_none_is_on_both_sides():
    dataset = build_dataset(records(), maps(), hyperparameters())
    assert sorted(keys(dataset.train) + keys(dataset.validation)) == [f"{n:02}.png" for n in range(PICTURES)]
    assert len(dataset.train) > len(dataset.validation) > 0
    assert len(dataset.train.examples) + len(dataset.validation.examples) == len(records())


def test_every_line_comes_back_with_its_picture_and_its_map():
    dataset, arrays = build_dataset(records(), maps(), hyperparameters()), maps().arrays
    lines = dict[str, list[str]]()
    for picture, line in zip(records().picture_of, records().lines, strict=True):
        lines.setdefault(records().pictures[picture].key, []).append(line)
    for part in (dataset.train, dataset.validation):
        decoded: list[list[str]] = [[] for _ in part.pictures]
        for picture, tokens in zip(part.examples.picture_of, part.examples.lines, strict=True):
            decoded[picture].append(dataset.tokenizer.decode(tokens))
        assert decoded == part.references == [lines[key] for key in keys(part)]
        for row, key in enumerate(keys(part)):
            found = part.examples.picture_batch(np.array([row]))[0].numpy()
            np.testing.assert_array_equal(found, arrays[int(key[:2])])


def test_broken_pictures_are_on_neither_side_and_shift_no_map():
    dataset, arrays = build_dataset(records(), maps(broken=(0, 7)), hyperparameters()), maps().arrays
    assert not {"00.png", "07.png"} & set(keys(dataset.train) + keys(dataset.validation))
    for part in (dataset.train, dataset.validation):
        found = part.examples.picture_batch(np.arange(len(part))).numpy()
        np.testing.assert_array_equal(found, arrays[[int(key[:2]) for key in keys(part)]])


def looking_alike(*groups: tuple[int, ...]) -> PictureArrays:
    """Pictures of which some have hashes that differ in a few bits."""
    hashes = np.random.default_rng(0).integers(0, 256, (PICTURES, HASH_BYTES), np.uint8)
    for first, *others in groups:
        for place, other in enumerate(others):
            hashes[other] = hashes[first]
            hashes[other, place] ^= 7
    return dataclasses.replace(maps(), hashes=hashes)


def held_out(dataset: Dataset) -> set[int]:
    return {int(key[:2]) for key in keys(dataset.validation)}


@pytest.mark.parametrize("seed", range(5))
def test_pictures_that_look_alike_go_where_the_first_of_them_goes_and_others_stay(seed: int):
    hp = hyperparameters(seed=seed)
    groups = [(2, 9), (5, 6, 7, 20)]
    before = held_out(build_dataset(records(), maps(), hp))
    after = held_out(build_dataset(records(), looking_alike(*groups), hp))
    followers = {other for _, *others in groups for other in others}
    assert after - followers == before - followers
    for first, *others in groups:
        assert {other in after for other in others} == {first in before}


def test_a_broken_picture_names_no_group_and_shifts_no_hash():
    arrays = looking_alike((0, 3, 8), (12, 13))
    hashes = arrays.hashes.copy()
    hashes[[0, 1]] = 0
    dataset = build_dataset(records(), dataclasses.replace(maps(broken=(0, 1)), hashes=hashes), hyperparameters())
    near = dataset.summary.near_duplicates
    assert (near.groups, near.pictures) == (2, 4)
    assert near.examples == (("03.png", "08.png"), ("12.png", "13.png"))


def test_the_summary_tells_what_was_left_out_and_what_was_split(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    arrays = dataclasses.replace(looking_alike((2, 9)), usable=[n for n in range(PICTURES) if n != 7])
    arrays = dataclasses.replace(arrays, broken=[Broken("07.png", "no such file")])
    dataset = build_dataset(records(), arrays, hyperparameters(), dropped=[Dropped("x.png", "www.a.jp", "a link")])
    found = dataset.summary
    assert (found.records_read, found.pictures_read, found.dropped_pictures) == (len(records()) + 1, PICTURES + 1, 1)
    assert [(one.reason, one.count) for one in found.dropped_lines] == [("a link", 1)]
    assert [one.key for one in found.broken_pictures] == ["07.png"]
    for side, part in ((found.train, dataset.train), (found.validation, dataset.validation)):
        assert (side.pictures, side.lines) == (len(part), len(part.examples))
    assert found.train.groups + found.validation.groups == PICTURES - 2
    assert found.near_duplicates.examples == (("02.png", "09.png"),)
    lines = {line for references in dataset.train.references for line in references}
    assert found.shared_lines == sum(line in lines for one in dataset.validation.references for line in one) > 0
    assert "2 pictures look like another one, in 1 groups, the largest of 2, such as 02.png, 09.png" in caplog.text
    assert f"{found.shared_lines} of {found.validation.lines} lines held out also stand word for word" in caplog.text


def test_the_tokenizer_knows_the_training_side_only():
    builder = RecordsBuilder()
    for n in range(200):
        builder.add(Record(f"{n}.png", f"写真{chr(0x4E00 + n)}{chr(0x4E00 + n)}"))
    many = builder.build()
    dataset = build_dataset(
        many, PictureArrays(np.zeros((200, 1, 1), np.float16), list(range(200)), []), hyperparameters()
    )
    for part, whole in ((dataset.train, True), (dataset.validation, False)):
        seen = {references[0][-1] for references in part.references}
        assert all((len(dataset.tokenizer.encode(character)) == 1) == whole for character in seen)


def test_characters_count_the_end_of_the_line_once():
    part = build_dataset(records(), maps(), hyperparameters()).train
    lines = [line for references in part.references for line in references]
    assert part.examples.characters.tolist() == [len(line) + 1 for line in lines]


def test_long_lines_are_cut_and_the_log_says_how_many(caplog: pytest.LogCaptureFixture):
    dataset = build_dataset(records(), maps(), hyperparameters(max_length=4))
    lengths = [len(dataset.tokenizer.encode(line)) for line in records().lines]
    assert dataset.cut_lines == sum(length > 4 for length in lengths) > 0
    assert max(len(line) for line in dataset.train.examples.lines) == 4
    assert f"{dataset.cut_lines} lines of more than max_length=4 tokens were cut" in caplog.text


@pytest.mark.parametrize(
    "edges", [ControlEdges(), ControlEdges((1.0, 2.5, 4.0, 12.0), (9.0, 15.0)), ControlEdges(length=(3.0, 4.0))]
)
def test_levels_of_many_lines_are_those_of_each(edges: ControlEdges):
    scores = np.array([np.nan, -1, 1, 2.4999, 2.5, 12, 1e30], np.float32)
    characters = np.array([1, 3, 4, 8, 9, 15, 200])
    found = control_levels(edges, scores, characters)
    expected = [edges.levels(*pair) for pair in zip(scores.tolist(), characters.tolist(), strict=True)]
    np.testing.assert_array_equal(found, np.array(expected), strict=True)
    assert control_levels(edges, scores[:0], characters[:0]).shape == (0, 2)


def test_labels_of_unknown_confidence_are_always_kept():
    builder = RecordsBuilder()
    builder.add(Record("a.png", "犬", (Label("Dog", 80.0), Label("Pet", 0.0), Label("Animal"))))
    builder.add(Record("b.png", "猫", tuple(Label(f"Label {n}", 50.0) for n in range(30))))
    some = builder.build()
    arrays = PictureArrays(np.zeros((2, 1, 1), np.float16), [0, 1], [])
    examples = build_dataset(some, arrays, hyperparameters(validation_fraction=0)).train.examples
    assert examples.confidences[0].tolist() == [0.8, 0.0, 1.0]
    assert [len(c) for c in examples.confidences] == [len(c.label_confidence) for c in examples.conditions] == [3, 10]


def test_nothing_held_out_where_nothing_is_asked_for():
    dataset = build_dataset(records(), maps(), hyperparameters(validation_fraction=0))
    assert len(dataset.validation) == len(dataset.validation.examples) == 0
    assert len(dataset.train) == PICTURES


def few(pictures: int, fraction: float) -> None:
    chosen = records().select(range(pictures))
    arrays = PictureArrays(maps().arrays[:pictures], list(range(pictures)), [])
    build_dataset(chosen, arrays, hyperparameters(validation_fraction=fraction))


def test_nothing_left_to_train_on_is_an_error_with_a_way_out():
    with pytest.raises(UserError, match=r"all 1 pictures were held out with validation_fraction 0\.9: lower it"):
        few(1, 0.9)


def test_nothing_held_out_of_few_pictures_is_told(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    few(2, 0.01)
    assert "no picture of 2 was held out: nothing will be validated, the last weights are kept" in caplog.text
