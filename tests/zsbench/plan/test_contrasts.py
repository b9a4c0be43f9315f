"""Contrasts differ in one factor and are derived; compounds are those of the config."""

from zsbench.plan.comparisons import derive, differing, levels


def gliznet(compounds=None, base=None, **variants):
    return {"base": base or {}, "variants": {"full": {}} | variants, "compounds": compounds or {}}


def test_every_one_factor_pair_is_derived_with_the_changed_side_first():
    config = gliznet(a={"margin": 0.0}, b={"bce_weight": 0.0}, c={"margin": 0.0, "bce_weight": 0.0})
    pairs = {(item.system, item.baseline): item.factor for item in derive(config)}
    assert pairs == {
        ("gliznet-a", "gliznet-full"): "margin",
        ("gliznet-b", "gliznet-full"): "BCE weight",
        ("gliznet-c", "gliznet-a"): "BCE weight",
        ("gliznet-c", "gliznet-b"): "margin",
    }


def test_a_confounded_pair_is_no_contrast():
    assert not [*derive(gliznet(both={"margin": 0.0, "head": "cosine"}))]


def test_a_named_compound_is_allowed_and_says_so():
    config = gliznet({"pair": ["both", "full"]}, both={"margin": 0.0, "head": "cosine"})
    (found,) = derive(config)
    assert found.factor == "compound pair (2 factors)"
    assert found.levels == "head: cosine, margin: 0 vs head: bilinear, margin: 0.5"


def test_vicreg_is_one_factor_of_four_levels():
    config = gliznet(off={"vicreg_weight": 0.0}, variance={"vicreg": "variance"}, covariance={"vicreg": "covariance"})
    assert {item.factor for item in derive(config)} == {"VICReg"}
    assert len(list(derive(config))) == 6
    assert differing(config, "off", "variance") == {"VICReg": ("off", "variance, vicreg weight 0.05")}
    assert levels({"vicreg_weight": 0.0, "vicreg": "variance"}) == {"VICReg": "off"}
    assert levels({"vicreg_weight": 0.1, "vicreg": "variance"}) == {"VICReg": "variance, vicreg weight 0.1"}


def test_a_factor_of_several_options_names_all_but_the_first():
    found = levels({"label_context": "none", "order_invariant": True, "label_frame": True})
    assert found == {"label order": "on", "label context": "none", "label frame": "on"}


def test_the_base_counts_for_both_sides():
    config = gliznet(base={"margin": 0.0, "head": "dot"}, other={"margin": 0.5})
    assert differing(config, "other", "full") == {"margin": ("0.5", "0")}


def test_the_paper_config_has_only_one_factor_contrasts_and_its_compounds():
    from pathlib import Path

    import yaml

    root = Path(__file__).parents[3]
    for path in (root / "config.yaml", root / "workflow" / "configs" / "embedded.yaml"):
        section = yaml.safe_load(path.read_text())["gliznet"]
        section = {"base": {}, "compounds": {}} | section
        found = list(derive(section))
        assert found
        compounds = [item for item in found if item.factor.startswith("compound")]
        assert len(compounds) == len(section["compounds"])


def test_the_reference_truncation_is_a_level_of_its_own() -> None:
    """If a side does not set a switch, its level is the switch's default."""
    gliznet = {"base": {}, "variants": {"full": {}, "cut": {"truncation": "reference"}}, "compounds": {}}
    assert [(c.system, c.factor, c.levels) for c in derive(gliznet)] == [
        ("gliznet-cut", "truncation", "reference vs label-first")
    ]
