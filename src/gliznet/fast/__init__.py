"""Optional fast paths. Tests compare each with the plain implementation.

"Exact" means the same computation up to floating-point rounding.

`encoders`: `use_fast_encoders(model)` switches the encoders in a model to their fast path; `use_plain_encoders` undoes
    it. GliZNet models, NLI models, rerankers, bi-encoders and training use it; the environment variable
    `GLIZNET_FAST=0` disables it. Unsupported encoders are left unchanged.
`packed`: BERT-like encoders on a CPU without padding, with fused and prepacked matrix products. Exact.
`deberta`, with `relative_positions`: DeBERTa-v2/v3 attention that caches what depends only on weights; on a CPU without
    gradients, the rest of each layer uses `packed`. Exact.
`caching`: the cache of weight-dependent values that both use in eval mode.
`text_cache`: in order-invariant mode, encodes each text once and any number of labels against its keys and values.
    Exact. `predictor.score_texts` uses it when many texts share one label set and `can_cache_texts` is true.
`dropout`: CPU dropout at a quarter of the cost, with different random draws from (almost) the same distribution. The
    training loop enables it with `use_fast_dropout`; it has no effect in eval mode and on other devices.
"""
