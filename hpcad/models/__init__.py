"""Networks of the field, written with nn, and the registry that job files choose from."""

from hpcad.models.char_gpt import CharGPT, CharGPTConfig
from hpcad.models.cnn import CNN, CNNConfig
from hpcad.models.gpt import GPT
from hpcad.models.gpt2 import GPT2, GPT2Config
from hpcad.models.mlp import MLP, MLPConfig
from hpcad.models.recurrent import RecurrentClassifier, RecurrentConfig
from hpcad.models.registry import REGISTRY, ModelEntry

__all__ = [
    "CNN",
    "GPT",
    "GPT2",
    "MLP",
    "REGISTRY",
    "CNNConfig",
    "CharGPT",
    "CharGPTConfig",
    "GPT2Config",
    "MLPConfig",
    "ModelEntry",
    "RecurrentClassifier",
    "RecurrentConfig",
]
