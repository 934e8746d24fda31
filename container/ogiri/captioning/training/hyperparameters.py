"""What `hyperparameters.json` may hold for `task=caption`."""

from __future__ import annotations

from dataclasses import dataclass

from ogiri.captioning.training.metrics import Tokens
from ogiri.parameter import ParameterError, parameter

MAX_SEED = 2**63 - 1
HEADS = 8  # of the LSTM's attention; they share its width
HEAD_WIDTH = 64  # of GPT-2's attention
MIN_WIDTH = 32
WIDTHS, LAYERS = {"lstm": 512, "gpt2": 384}, {"lstm": 1, "gpt2": 6}


@dataclass(frozen=True)
class CaptionHyperparameters:
    """Each with its type, range and default; the README's table is made from these lines."""

    task: str = parameter("caption", "what is trained", choices=("caption",))
    # data
    min_records: int = parameter(10, "fewer picture–line pairs than this fail the job", minimum=1)
    max_characters: int = parameter(200, "characters of a line; longer ones are left out; 0 = no bound", minimum=0)
    banned_words: tuple[str, ...] = parameter(
        (),
        "lines with one are left out, and the model never writes them: a JSON list, or words joined by vertical bars",
    )
    banned_words_file: str = parameter(
        "", "more of them: a text file in UTF-8, one a line, in the `records`, `pretrained` or `training` channel"
    )
    validation_fraction: float = parameter(
        0.1, "share of the pictures held out; 0 = none, and the last weights are kept", minimum=0, maximum=0.9
    )
    image_size: int = parameter(224, "pixels of a picture's side as the encoder sees it", minimum=32, maximum=1024)
    metric_tokens: str = parameter(
        "character", "what BLEU and CIDEr count: character (Japanese) or word (English)", choices=("character", "word")
    )
    # model
    start_from_model: bool = parameter(
        True, "train on from the artifact in the `model` channel; false: only compare with it at the end"
    )
    encoder: str = parameter("resnet50", "any torchvision classification network")
    encoder_weights: str = parameter(
        "pretrained", "pretrained: read and kept frozen; none: trained with the decoder", choices=("pretrained", "none")
    )
    finetune_encoder: bool = parameter(False, "train pretrained encoder weights too")
    finetune_stages: int = parameter(
        0,
        "with finetune_encoder: only the last stages, 1 = layer4 of a ResNet, 3 = features.16 to 18 of MobileNetV2; "
        "what is before them is computed once for each picture; 0 = all of them",
        minimum=0,
    )
    decoder: str = parameter("lstm", "what writes the line", choices=("lstm", "gpt2"))
    language_model: str = parameter(
        "",
        "for gpt2: folder below the `pretrained` channel with config.json, model.safetensors and a SentencePiece "
        "model (`.` = the channel itself), or with allow_download a name on the Hugging Face hub; empty = from scratch",
    )
    decoder_width: int = parameter(
        0, "width of embeddings and states; 0 = 512 for lstm, 384 for gpt2", minimum=0, maximum=4096
    )
    decoder_layers: int = parameter(0, "layers of the decoder; 0 = 1 for lstm, 6 for gpt2", minimum=0, maximum=48)
    vocabulary: int = parameter(
        0, "SentencePiece tokens; 0 = one for every 12 characters of the lines, at most 8,000", minimum=0, maximum=64000
    )
    max_length: int = parameter(64, "tokens of a line; longer ones are cut", minimum=4, maximum=1024)
    dropout: float = parameter(
        0.5,
        "lstm: before the output, 0.6 of it on words and states; gpt2: a fifth of it in every layer",
        minimum=0,
        maximum=0.9,
    )
    condition_dropout: float = parameter(
        1.0, "scale of dropping labels (10 %), text (20 %), picture (5 %); 0 = never", minimum=0, maximum=3
    )
    map_dropout: float = parameter(
        0.0,
        "share of the channels of a picture's map that each step of training hides: less overfitting to pictures",
        minimum=0,
        maximum=0.9,
    )
    controls: bool = parameter(True, "learn to write for a score and a length, where a request asks for them")
    augmentation: bool = parameter(True, "vary pictures a little where the encoder is trained")
    variants: int = parameter(
        0,
        "crops of each picture that what is frozen of an encoder sees beside the picture itself: less overfitting, "
        "for as many times the encoding and its space on disk",
        minimum=0,
        maximum=16,
    )
    feature_channels: int = parameter(
        0,
        "width that a frozen encoder's maps are projected to; 0 = as they are, or where they would not fit the disk as "
        "wide as fits",
        minimum=0,
    )
    mirror: bool = parameter(False, "mirror half of the varied pictures: for photographs without lettering")
    # training
    epochs: int = parameter(20, "times every line is seen", minimum=1, maximum=10000)
    batch_size: int = parameter(128, "lines a step", minimum=1, maximum=65536)
    learning_rate: float = parameter(
        1e-3,
        "peak of the schedule; pretrained weights learn at a share of it: an encoder at 1 %, a language model at 2 %, "
        "what is new around a language model at 30 % while it learns alone and at 10 % afterwards",
        above=0,
        maximum=1,
    )
    mapper_epochs: int = parameter(
        2, "epochs, of all, in which a language model stays as it is and only what is new around it learns", minimum=0
    )
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
    consensus_weight: float = parameter(
        0.0,
        "how much more a line counts in the loss that is like the other lines of its picture: 0 = all the same, "
        "1 = from 0 to 2; for descriptions only",
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
    scst_epochs: int = parameter(
        0,
        "epochs of self-critical training after the others: lines are rewarded for likeness to people's (CIDEr); "
        "for descriptions only, it takes the wit out of humour",
        minimum=0,
        maximum=1000,
    )
    scst_learning_rate: float = parameter(1e-4, "peak of the schedule of self-critical training", above=0, maximum=1)
    select_by: str = parameter(
        "loss", "which validation figure picks the best epoch", choices=("loss", "cider", "bleu", "chrf")
    )
    seed: int = parameter(0, "of everything random", minimum=0, maximum=MAX_SEED)
    precision: str = parameter("auto", "auto: bf16 where the hardware has it", choices=("auto", "fp32", "bf16"))
    require_gpu: bool = parameter(False, "fail where no GPU is found")
    processes_per_host: int = parameter(
        0, "processes that train on each host; 0 = as many as it has GPUs, one where it has none", minimum=0, maximum=64
    )
    allow_download: bool = parameter(False, "fetch encoder weights or a language model that lie nowhere")
    profile: bool = parameter(
        False, "write output/data/profile.txt, where the time went, and trace.json, the first ten steps"
    )
    # export
    quantize: bool = parameter(True, "ship the decoder with 8-bit weights where that costs at most 0.01 nat a token")
    export_weights: bool = parameter(False, "put the training weights into the artifact too")

    def __post_init__(self) -> None:
        if self.finetune_encoder and self.encoder_weights == "none":
            raise ParameterError(
                "finetune_encoder is true and encoder_weights is none: without pretrained weights the encoder is "
                "trained anyway, so leave finetune_encoder out"
            )
        if self.finetune_stages and not self.finetune_encoder:
            raise ParameterError(
                f"finetune_stages is {self.finetune_stages} and finetune_encoder is false: set it to true"
            )
        if self.feature_channels and self.trains_encoder:
            raise ParameterError(
                f"feature_channels is {self.feature_channels} and the encoder is trained: only the maps of a frozen "
                "one are kept on disk, so leave it out"
            )
        part = HEADS if self.decoder == "lstm" else HEAD_WIDTH
        if self.decoder_width % part or 0 < self.decoder_width < MIN_WIDTH:
            raise ParameterError(
                f"decoder_width is {self.decoder_width}: it must be a multiple of {part}, and at least {MIN_WIDTH}"
            )
        if self.language_model:
            self._check_language_model()

    @property
    def width(self) -> int:
        """Of a decoder that is trained from scratch."""
        return self.decoder_width or WIDTHS[self.decoder]

    @property
    def layers(self) -> int:
        """Of a decoder that is trained from scratch."""
        return self.decoder_layers or LAYERS[self.decoder]

    @property
    def frozen_epochs(self) -> int:
        """The first epochs, in which a pretrained language model is not trained."""
        return self.mapper_epochs if self.language_model else 0

    @property
    def counted(self) -> Tokens:
        """`metric_tokens`, for the type checker."""
        return "word" if self.metric_tokens == "word" else "character"

    @property
    def trains_encoder(self) -> bool:
        """Whether gradients reach the encoder."""
        return self.finetune_encoder or self.encoder_weights == "none"

    def _check_language_model(self) -> None:
        if self.decoder != "gpt2":
            raise ParameterError(
                f"language_model is {self.language_model} and decoder is {self.decoder}: it needs decoder=gpt2"
            )
        for name in ("decoder_width", "decoder_layers", "vocabulary"):
            if getattr(self, name):
                raise ParameterError(f"{name} is {getattr(self, name)}: language_model brings its own, so leave it out")
        if self.mapper_epochs > self.epochs:
            raise ParameterError(
                f"mapper_epochs is {self.mapper_epochs} and epochs is {self.epochs}: mapper_epochs are part of them"
            )
