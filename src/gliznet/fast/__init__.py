"""Faster ways to the same numbers, each optional and checked against the plain way in the tests.

`encoders`: `use_fast_encoders(model)` gives each encoder in a model the fast path of its kind, `use_plain_encoders`
    takes it back. GliZNet models, NLI models, rerankers, bi-encoders and every training call it; `GLIZNET_FAST=0`
    in the environment turns it off. Encoders of other kinds are left alone.
`packed`: BERT and its like on a CPU without padding, with fewer and prepacked products. Exact.
`deberta`, with `relative_positions`: DeBERTa-v2/v3 attention without the work that no input changes. Exact.
`caching`: what both keep of their weights in eval mode.
`text_cache`: order-invariant mode encodes a text once and any number of labels against its keys and values. Exact.
    Chosen by `predictor.score_texts` when many texts share one label set and `can_cache_texts` knows the encoder.
`dropout`: dropout on a CPU at a quarter of its cost, with other random draws of the same distribution. Chosen by the
    training loop through `use_fast_dropout`; without effect in eval mode and on other devices.
"""
