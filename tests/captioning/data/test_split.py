import random

import pytest

from ogiri.captioning.data.split import is_validation, split

KEYS = [f"picture-{n}.jpg" for n in range(4000)]


def held_out(keys: list[str], seed: int = 0, fraction: float = 0.1) -> set[str]:
    return {keys[index] for index in split(keys, seed, fraction)[1]}


def test_every_picture_is_on_one_side():
    train, validation = split(KEYS, 0, 0.3)
    assert sorted(train + validation) == list(range(len(KEYS)))
    assert train == sorted(train)
    assert validation == sorted(validation)


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.5, 0.9])
def test_about_the_fraction_is_held_out(fraction: float):
    assert len(held_out(KEYS, fraction=fraction)) / len(KEYS) == pytest.approx(fraction, abs=0.02)


def test_a_fraction_of_zero_holds_nothing_out():
    assert held_out(KEYS, fraction=0.0) == set()


def test_new_pictures_change_nothing_for_the_old_ones():
    few = KEYS[::3]
    assert held_out(KEYS) & set(few) == held_out(few)


def test_a_larger_fraction_keeps_what_a_smaller_one_held_out():
    assert held_out(KEYS, fraction=0.1) < held_out(KEYS, fraction=0.2)


def test_a_group_is_on_one_side_and_leaves_the_others_where_they_are():
    groups = [KEYS[index // 3 * 3] if index < 900 else key for index, key in enumerate(KEYS)]
    train, validation = split(groups, 0, 0.3)
    assert not {groups[index] for index in train} & {groups[index] for index in validation}
    alone = {key for group, key in zip(groups, KEYS, strict=True) if groups.count(group) == 1}
    assert {KEYS[index] for index in validation} & alone == held_out(KEYS, fraction=0.3) & alone


def test_the_order_of_pictures_does_not_matter():
    shuffled = random.Random(0).sample(KEYS, len(KEYS))
    assert held_out(shuffled) == held_out(KEYS)


def test_another_seed_holds_out_others():
    one, other = held_out(KEYS, seed=0), held_out(KEYS, seed=1)
    assert len(one & other) < 0.3 * len(one)


def test_is_the_same_on_every_machine_and_in_every_version():
    assert [key for key in KEYS[:40] if is_validation(key, 7, 0.1)] == ["picture-4.jpg", "picture-21.jpg"]
    assert is_validation("犬.jpg", 2**63 - 1, 0.5)
