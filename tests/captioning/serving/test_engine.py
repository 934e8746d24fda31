from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from ogiri.captioning.model.conditioning import Conditions, stack_conditions
from ogiri.captioning.serving.captioner import Captioner
from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.serving.state import StateEntry
from ogiri.record import Label
from tests.captioning.serving import tiny

BOS = 1


def conditions(captioner: Captioner, *labels: str, text: str = "") -> Conditions:
    return captioner.conditions([Label(name, 95.0) for name in labels], text)


def test_the_map_of_a_picture_does_not_depend_on_its_neighbours(captioner: Captioner):
    pictures = np.random.default_rng(0).integers(0, 256, (5, tiny.SIZE, tiny.SIZE, 3), dtype=np.uint8)
    maps = captioner.engine.encode(pictures)
    assert maps.shape == (5, tiny.CELLS, tiny.CHANNELS)
    assert np.array_equal(captioner.engine.encode(pictures[3:4])[0], maps[3])


def test_steps_of_a_row_do_not_depend_on_its_neighbours(captioner: Captioner, maps: np.ndarray):
    engine = captioner.engine
    known = stack_conditions([conditions(captioner, "dog", text="猫")] * 8)
    logits, state = engine.prefill(maps, known, BOS)
    alone, alone_state = engine.prefill(maps[2:3], stack_conditions([conditions(captioner, "dog", text="猫")]), BOS)
    for _ in range(5):
        assert np.allclose(logits[2], alone[0], atol=1e-5)
        tokens = logits.argmax(axis=1)
        logits, state = engine.step(tokens, state)
        alone, alone_state = engine.step(tokens[2:3], alone_state)


def test_anything_may_be_unknown(captioner: Captioner, maps: np.ndarray):
    nothing = stack_conditions([conditions(captioner)])
    with_picture, _ = captioner.engine.prefill(maps[:1], nothing, BOS)
    without, state = captioner.engine.prefill(None, nothing, BOS)
    assert np.isfinite(without).all()
    assert not np.allclose(with_picture, without)
    logits, _ = captioner.engine.step(np.array([5]), state)
    assert np.isfinite(logits).all()


def test_one_map_serves_several_rows(captioner: Captioner, maps: np.ndarray):
    known = stack_conditions([conditions(captioner, "犬"), conditions(captioner, "猫")])
    one, _ = captioner.engine.prefill(maps[:1], known, BOS)
    two, _ = captioner.engine.prefill(maps[[0, 0]], known, BOS)
    assert np.array_equal(one, two)


def test_half_precision_maps_are_taken(captioner: Captioner, maps: np.ndarray):
    known = stack_conditions([conditions(captioner)] * 8)
    half, _ = captioner.engine.prefill(maps.astype(np.float16), known, BOS)
    full, _ = captioner.engine.prefill(maps, known, BOS)
    assert np.allclose(half, full, atol=0.2)


def test_an_engine_says_what_memory_it_needs(captioner: Captioner, tmp_path: Path):
    tiny.save_decoder(tmp_path / "decoder.onnx", 9000)
    engine = Engine(tmp_path / "decoder.onnx", tiny.STATE, threads=1)
    size = (tmp_path / "decoder.onnx").stat().st_size
    assert size <= engine.memory_bytes() <= 3 * size
    assert captioner.engine.memory_bytes() > 0


def test_an_engine_without_encoder_takes_maps_only(tmp_path: Path):
    tiny.save_decoder(tmp_path / "decoder.onnx", 300)
    with pytest.raises(RuntimeError, match="without an encoder"):
        Engine(tmp_path / "decoder.onnx", tiny.STATE).encode(np.zeros((1, tiny.SIZE, tiny.SIZE, 3), np.uint8))


def test_a_graph_that_is_not_as_the_manifest_says_is_named(tmp_path: Path):
    decoder = tmp_path / "decoder.onnx"
    tiny.save_decoder(decoder, 300)
    with pytest.raises(ValueError, match=r"decoder\.onnx takes .*cell"):
        Engine(decoder, (*tiny.STATE, StateEntry("cell", (4,))))
    model = onnx.load(decoder)
    del model.graph.output[1]
    onnx.save(model, tmp_path / "cut.onnx")
    with pytest.raises(ValueError, match=r"cut\.onnx does not give .*hidden"):
        Engine(tmp_path / "cut.onnx", tiny.STATE)
    decoder.write_bytes(b"no graph")
    with pytest.raises(ValueError, match=r"decoder\.onnx cannot be loaded"):
        Engine(decoder, tiny.STATE)


def test_only_states_that_get_longer_with_each_step_grow():
    assert StateEntry("past", (2, 0, 8)).grows
    assert not StateEntry("memory", (0, 8), constant=True).grows
    assert not StateEntry("hidden", (8,)).grows
