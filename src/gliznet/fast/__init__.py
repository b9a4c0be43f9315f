"""Faster ways to the same numbers, each optional and checked against the plain way in the tests.

`deberta`, with `relative_positions`: DeBERTa-v2/v3 attention without the work that no input changes. Exact. Chosen by
    `use_fast_attention(model)`, which GliZNet models and frozen NLI models call on their encoder; encoders of other
    architectures are left alone. `use_plain_attention` undoes it.
`text_cache`: order-invariant mode encodes a text once and any number of labels against its keys and values. Exact.
    Chosen by `predictor.score_texts` when many texts share one label set and `can_cache_texts` knows the encoder.
`dropout`: dropout on a CPU at a quarter of its cost, with other random draws of the same distribution. Chosen by the
    training loop through `use_fast_dropout`; without effect in eval mode and on other devices.
"""
