"""GliZNet: zero-shot text classification that reads a text and all its candidate labels in one encoder pass.

`import gliznet` registers the model with transformers' Auto classes.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from gliznet.config import GliZNetConfig, GliZNetOptions
from gliznet.model import GliZNetForSequenceClassification
from gliznet.tokenizer import GliZNETTokenizer

AutoConfig.register("gliznet", GliZNetConfig)
AutoModel.register(GliZNetConfig, GliZNetForSequenceClassification)
AutoModelForSequenceClassification.register(GliZNetConfig, GliZNetForSequenceClassification)
AutoTokenizer.register(GliZNetConfig, fast_tokenizer_class=PreTrainedTokenizerFast)

__all__ = ["GliZNETTokenizer", "GliZNetConfig", "GliZNetForSequenceClassification", "GliZNetOptions"]
