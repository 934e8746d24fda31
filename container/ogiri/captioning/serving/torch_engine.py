"""The encoder and the decoder of a caption artifact in torch, for endpoints with a GPU; `engine.Engine` is for a CPU.

`choice` imports this module where a GPU is chosen, and nothing else does: with its `torch_…` neighbours it is all of
serving that knows torch.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import Tensor, nn

from ogiri.captioning.model.conditioning import ConditionLimits, Conditions
from ogiri.captioning.model.controls import CONTROLS
from ogiri.captioning.model.decoder import State as TorchState
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.model.lstm import LSTMDimensions
from ogiri.captioning.serving.settings import DECODER_WEIGHTS, ENCODER_WEIGHTS, Network, Settings
from ogiri.captioning.serving.state import Array, State
from ogiri.captioning.serving.torch_lstm import RowLSTM
from ogiri.captioning.serving.torch_slab import GPU_TURN, RowDecoder, TorchSlab, as_prefix
from ogiri.task import UserError

Floats = npt.NDArray[np.float32]

GPU = "cuda"
_STEPS = "steps"
_PARTS = ("label_pieces", "label_confidence", "text_pieces", "controls")

log = logging.getLogger(__name__)


class TorchEngine:
    """See `interface.CaptionEngine`. May be used by several threads at a time; one at a time has the GPU."""

    def __init__(
        self,
        decoder: RowDecoder,
        channels: int,
        slots: int,
        tokens: int,
        device: torch.device,
        encoder: Encoder | None = None,
    ) -> None:
        """Move the weights to the device.

        Args:
            decoder: an `nn.Module` too.
            channels: width of the encoder's map.
            slots: of a prefix at most: cells, labels, pieces of text and controls.
            tokens: of a line at most, the begin token counted; for `prefill` and `step`.
            device: where all is computed.
            encoder: without one, maps are what goes in.
        """
        self.channels, self.vocabulary, self.grows = channels, decoder.vocabulary, decoder.grows
        self._decoder, self._encoder = decoder, encoder
        self._slots, self._tokens, self._device = slots, tokens, device
        self._dtype = _precision(device)
        decoder.place(device, self._dtype)
        if encoder is not None:
            _place_encoder(encoder, device, self._dtype)
        self._memory_bytes = sum(_bytes(part) for part in (decoder, encoder) if isinstance(part, nn.Module))

    def encode(
        self,
        pictures: npt.NDArray[np.uint8],
        *,
        keep_memory: bool = True,  # noqa: ARG002  torch keeps a GPU's memory
    ) -> Floats:
        """See `Engine.encode`."""
        if self._encoder is None:
            raise RuntimeError("this engine was loaded without an encoder: give it maps")
        with GPU_TURN, torch.inference_mode():
            maps: Floats = self._encoder(torch.from_numpy(pictures).to(self._device)).float().cpu().numpy()
        return maps

    def known(self, maps: npt.NDArray[Any] | None, conditions: Conditions) -> dict[str, Array]:
        """See `Engine.known`."""
        batch = len(conditions.label_confidence)
        found = np.zeros((1, 0, self.channels), np.float32) if maps is None else np.asarray(maps, np.float32)
        rows = np.repeat(found, batch, axis=0) if len(found) == 1 else found
        return {"map": rows, **{name: getattr(conditions, name) for name in _PARTS}}

    def slab(self, tokens: int, known: int = 0) -> TorchSlab:  # noqa: ARG002 - it has room for the longest prefix
        """See `Engine.slab`."""
        return TorchSlab(self._decoder, self._device, self._dtype, self._slots, tokens)

    def memory_bytes(self) -> int:
        """Bytes of the weights, which lie on the device."""
        return self._memory_bytes

    # --- rows that begin together: for measurements, not for serving

    def prefill(self, maps: npt.NDArray[Any] | None, conditions: Conditions, bos: int) -> tuple[Floats, State]:
        """See `Engine.prefill`; a row after the other."""
        known = self.known(maps, conditions)
        rows = len(known["map"])
        lengths = np.zeros(rows, np.int64)
        logits = []
        with GPU_TURN, torch.inference_mode():
            state = self._decoder.make_rows(rows, self._slots, self._tokens)
            for row in range(rows):
                of_row = {name: array[row : row + 1] for name, array in known.items()}
                prefix = as_prefix(of_row, self._device, self._dtype)
                found, lengths[row] = self._decoder.begin(state, row, prefix, bos)
                logits.append(found)
            first: Floats = torch.cat(logits).cpu().numpy()
        return first, _kept(state, np.stack([np.ones(rows, np.int64), lengths]))

    def step(self, tokens: npt.NDArray[np.int64], state: State) -> tuple[Floats, State]:
        """See `Engine.step`; the state is copied there and back."""
        counts = state[_STEPS]
        taken = torch.from_numpy(np.stack([tokens, *counts])).to(self._device)
        with GPU_TURN, torch.inference_mode():
            moved = {
                name: torch.tensor(array, device=self._device, dtype=self._dtype)
                for name, array in state.items()
                if name != _STEPS
            }
            logits: Floats = self._decoder.advance_rows(moved, taken).cpu().numpy()
        return logits, _kept(moved, counts + 1)


def open_torch_engine(folder: Path, settings: Settings, network: Network, device: str = GPU) -> TorchEngine:
    """The engine of an artifact that carries its weights.

    Args:
        folder: of the artifact.
        settings: of its manifest.
        network: of its manifest.
        device: where all is computed.

    Raises:
        ValueError: torch finds no GPU, the weights are not those of the network that the manifest describes, or that
            does not fit the rest of the manifest; the message names what.
        MemoryError: the device has too little memory.
    """
    if device == GPU and not torch.cuda.is_available():
        raise ValueError(
            f"a GPU is to be used and torch {torch.__version__} finds none that it can use: take an instance with an "
            f"NVIDIA GPU and a driver for CUDA {torch.version.cuda}, or set OGIRI_ENGINE=cpu"
        )
    try:
        encoder = Encoder(network.encoder, settings.size)
    except UserError as error:
        raise ValueError(f"manifest.json has preprocessing.encoder {network.encoder!r}: {error}") from error
    decoder = _new_decoder(network)
    weights = _read(folder / ENCODER_WEIGHTS)
    encoder.follow(weights)
    _fill(encoder, weights, folder / ENCODER_WEIGHTS)
    _fill(decoder, _read(folder / DECODER_WEIGHTS), folder / DECODER_WEIGHTS)
    _check_dimensions(decoder.dims, encoder, settings)
    slots = encoder.cells + settings.limits.max_labels + settings.limits.max_text_pieces + len(CONTROLS)
    place = torch.device(device)
    try:
        engine = TorchEngine(decoder, encoder.channels, slots, settings.max_tokens + 1, place, encoder)
    except torch.OutOfMemoryError as error:
        raise MemoryError(f"the weights in {folder} do not fit into the memory of {place}: {error}") from error
    log.info("encoder and decoder run in torch on %s", torch.cuda.get_device_name() if device == GPU else place)
    return engine


def _new_decoder(network: Network) -> Any:
    try:
        if network.decoder == "lstm":
            return RowLSTM(LSTMDimensions(**network.dimensions))
        from ogiri.captioning.model.gpt2 import GPT2Dimensions  # transformers takes seconds to import
        from ogiri.captioning.serving.torch_gpt2 import RowGPT2

        return RowGPT2(GPT2Dimensions(**network.dimensions))
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise ValueError(f"manifest.json has decoding.dimensions that make no {network.decoder}: {error}") from error


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except Exception as error:  # safetensors has an exception of its own, and lets others through
        raise ValueError(f"{path} cannot be read as weights: {error}") from error


def _fill(part: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Give a part its weights, all of which must be there."""
    own = part.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        wanted, found = _shape(own.get(name)), _shape(weights.get(name))
        if wanted != found:
            raise ValueError(
                f"{path} has {found} for {name}, the manifest asks for {wanted}: they are not of one training"
            )
    part.load_state_dict(weights)


def _shape(weight: Tensor | None) -> str:
    return "nothing" if weight is None else f"shape {tuple(weight.shape)}"


def _check_dimensions(dims: Any, encoder: Encoder, settings: Settings) -> None:
    limits: ConditionLimits = settings.limits
    wanted = {
        "channels": encoder.channels,
        "buckets": limits.buckets,
        "max_label_pieces": limits.max_label_pieces,
        "max_text_pieces": limits.max_text_pieces,
    }
    for name, number in wanted.items():
        if getattr(dims, name) != number:
            raise ValueError(
                f"manifest.json has decoding.dimensions.{name} {getattr(dims, name)}: the rest of it says {number}"
            )
    positions = getattr(dims, "positions", settings.max_tokens + 1)
    if positions <= settings.max_tokens:
        raise ValueError(
            f"manifest.json has decoding.dimensions.positions {positions}: "
            f"lines of decoding.max_tokens {settings.max_tokens} need one more"
        )


def _precision(device: torch.device) -> torch.dtype:
    """bfloat16 where a GPU computes with it, float16 on those before Ampere (T4), float32 elsewhere."""
    if device.type != GPU:
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _place_encoder(encoder: Encoder, device: torch.device, dtype: torch.dtype) -> None:
    """Pictures are normalised in float32; what comes after is in `dtype`, with the channels of a pixel together."""
    encoder.eval().to(device)
    encoder.trunk.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    encoder.trunk.register_forward_pre_hook(
        lambda _trunk, inputs: (inputs[0].to(dtype=dtype, memory_format=torch.channels_last),)
    )


def _bytes(part: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*part.parameters(), *part.buffers()))


def _kept(state: TorchState, counts: npt.NDArray[np.int64]) -> State:
    """A state as arrays; NumPy has no bfloat16."""
    return {_STEPS: counts, **{name: part.float().cpu().numpy().copy() for name, part in state.items()}}
