"""What `hyperparameters.json` may hold for `task=caption`."""

from __future__ import annotations

from dataclasses import dataclass

from ogiri.parameter import ParameterError, parameter

MAX_SEED = 2**63 - 1
HEADS = 8  # of the decoder's attention; they share its width


@dataclass(frozen=True)
class CaptionHyperparameters:
    """Each with its type, range and default; the README's table is made from these lines."""

    task: str = parameter("caption", "what is trained", choices=("caption",))
    # data
    min_records: int = parameter(10, "fewer picture–line pairs than this fail the job", minimum=1)
    validation_fraction: float = parameter(
        0.1, "share of the pictures held out; 0 = none, and the last weights are kept", minimum=0, maximum=0.9
    )
    image_size: int = parameter(224, "pixels of a picture's side as the encoder sees it", minimum=32, maximum=1024)
    metric_tokens: str = parameter(
        "character", "what BLEU and CIDEr count: character (Japanese) or word (English)", choices=("character", "word")
    )
    # model
    encoder: str = parameter("resnet50", "any torchvision classification network")
    encoder_weights: str = parameter(
        "pretrained", "pretrained: read and kept frozen; none: trained with the decoder", choices=("pretrained", "none")
    )
    finetune_encoder: bool = parameter(False, "train pretrained encoder weights too")
    decoder: str = parameter("lstm", "what writes the line", choices=("lstm",))
    decoder_width: int = parameter(512, "width of embeddings and states", minimum=32, maximum=4096)
    decoder_layers: int = parameter(1, "layers of the decoder", minimum=1, maximum=48)
    vocabulary: int = parameter(
        0, "SentencePiece tokens; 0 = one for every 12 characters of the lines, at most 8,000", minimum=0, maximum=64000
    )
    max_length: int = parameter(64, "tokens of a line; longer ones are cut", minimum=4, maximum=1024)
    dropout: float = parameter(0.5, "dropout before the output; 0.6 of it on words and states", minimum=0, maximum=0.9)
    condition_dropout: float = parameter(
        1.0, "scale of dropping labels (10 %), text (20 %), picture (5 %); 0 = never", minimum=0, maximum=3
    )
    controls: bool = parameter(True, "learn to write for a score and a length, where a request asks for them")
    augmentation: bool = parameter(True, "vary pictures a little where the encoder is trained")
    # training
    epochs: int = parameter(20, "times every line is seen", minimum=1, maximum=10000)
    batch_size: int = parameter(128, "lines a step", minimum=1, maximum=65536)
    learning_rate: float = parameter(1e-3, "peak of the schedule", above=0, maximum=1)
    weight_decay: float = parameter(0.01, "AdamW's", minimum=0, maximum=10)
    warmup_ratio: float = parameter(0.05, "share of the steps with a rising learning rate", minimum=0, maximum=1)
    label_smoothing: float = parameter(
        0.1, "share of the loss that spreads probability over tokens by their frequency", minimum=0, maximum=0.9
    )
    score_weight: float = parameter(
        0.5,
        "how much more a line of a better Score counts in the loss: 0 = all the same, 1 = from 0 to 2",
        minimum=0,
        maximum=1,
    )
    clip_norm: float = parameter(1.0, "largest norm of a step's gradient", above=0)
    average_decay: float = parameter(
        0.9995,
        "of the running average of the weights, which is validated and shipped; 0 = no average",
        minimum=0,
        maximum=0.99999,
    )
    patience: int = parameter(5, "epochs without a better validation before the end; 0 = never stop early", minimum=0)
    select_by: str = parameter(
        "loss", "which validation figure picks the best epoch", choices=("loss", "cider", "bleu", "chrf")
    )
    seed: int = parameter(0, "of everything random", minimum=0, maximum=MAX_SEED)
    precision: str = parameter("auto", "auto: bf16 where the hardware has it", choices=("auto", "fp32", "bf16"))
    require_gpu: bool = parameter(False, "fail where no GPU is found")
    allow_download: bool = parameter(False, "fetch encoder weights that lie nowhere")
    profile: bool = parameter(False, "write output/data/trace.json, a trace of the first ten steps")
    # export
    quantize: bool = parameter(True, "ship the decoder with 8-bit weights where that costs at most 0.01 nat a token")
    export_weights: bool = parameter(False, "put the training weights into the artifact too")

    def __post_init__(self) -> None:
        if self.finetune_encoder and self.encoder_weights == "none":
            raise ParameterError(
                "finetune_encoder is true and encoder_weights is none: without pretrained weights the encoder is "
                "trained anyway, so leave finetune_encoder out"
            )
        if self.decoder_width % HEADS:
            raise ParameterError(f"decoder_width is {self.decoder_width}: it must be a multiple of {HEADS}")

    @property
    def trains_encoder(self) -> bool:
        """Whether gradients reach the encoder."""
        return self.finetune_encoder or self.encoder_weights == "none"
