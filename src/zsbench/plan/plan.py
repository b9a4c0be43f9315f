"""The static plan of a run: from a validated config to the specs of its jobs.

A spec is the part of the config that a job depends on, as plain JSON. It is a parameter of the job, so Snakemake reruns
exactly the jobs whose spec changed. The job derives the same spec from `results/<run>/config.json`.
"""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from zsbench.families import FAMILIES
from zsbench.plan import contents
from zsbench.plan.claims import KINDS, kind_of
from zsbench.plan.contents import ReportItem
from zsbench.recipe import with_overrides
from zsbench.store.layout import Layout
from zsbench.store.provenance import canonical_json

UNTRAINED_SEED = 0  # seed folder of systems without randomness


@dataclass(frozen=True)
class System:
    """A system of the run. `model` is ("source" | "trained" | "hybrid", id), or None for systems without a model."""

    id: str
    family: str
    settings: dict[str, Any]
    model: tuple[str, str] | None
    seeds: tuple[int, ...]
    suites: tuple[str, ...]

    @property
    def trained(self) -> bool:
        """Whether the run trains its model."""
        return self.model is not None and self.model[0] != "source"

    @property
    def fetched(self) -> list[str]:
        """Ids of the sources of its model: none if the run trains it, two for a published hybrid."""
        nli = [self.settings["nli"]] if "nli" in self.settings else []
        return [self.model[1], *nli] if self.model and self.model[0] == "source" else []


@dataclass(frozen=True)
class Plan:
    """Jobs and cells of one run.

    Args:
        config: a validated config with defaults filled in.
        resources: presets (`sources`, `datasets`, `training_sets`), including those of the config.
        root: folder of the run (default: `results/<run>` in the working directory).
    """

    config: dict[str, Any]
    resources: dict[str, Any]
    root: Path | None = None

    @classmethod
    def read(cls, root: Path) -> "Plan":
        """The plan of a run that the workflow has started, from `results/<run>/config.json`."""
        return cls(**json.loads(Layout(root).config.read_text(encoding="utf-8")), root=root)

    def spec(self, kind: str, *names: str) -> Any:
        """The spec of a job as plain JSON, by kind and names: ("dataset", "imdb"), ("training", model, seed), ..."""
        spec = getattr(self, f"{kind}_spec")
        return json.loads(canonical_json(spec(*names) if callable(spec) else spec))

    @property
    def run(self) -> str:
        return self.config["run"]

    @property
    def layout(self) -> Layout:
        return Layout(self.root or Path("results") / self.run)

    @property
    def reports(self) -> Path:
        """reports/<run>, next to the results."""
        return self.layout.root.parent.parent / "reports" / self.layout.root.name

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple((self.config["recipe"] or {}).get("seeds", ()))

    def datasets(self, suite: str) -> list[str]:
        return self.config["suites"].get(suite, {}).get("datasets", [])

    @property
    def all_datasets(self) -> list[str]:
        return [dataset for suite in self.config["suites"] for dataset in self.datasets(suite)]

    def dataset_spec(self, dataset: str) -> dict[str, Any]:
        """Preset of a test set, plus this run's label wording and sample."""
        preset = self.resources["datasets"][dataset]
        suite = next(one for one in self.config["suites"].values() if dataset in one["datasets"])
        wording = suite.get("verbalisations", {}).get(dataset) or next(iter(preset["verbalisations"]))
        spec = {key: value for key, value in preset.items() if key != "verbalisations"}
        rows = suite["rows"].get(dataset) if isinstance(suite["rows"], dict) else suite["rows"]
        return spec | {
            "id": dataset,
            "labels": preset["verbalisations"][wording],
            "label_names": next(iter(preset["verbalisations"].values())),
            "verbalisation": wording,
            "rows": rows,
            "sample_seed": suite["sample_seed"],
        }

    def training_set_spec(self, training_set: str) -> dict[str, Any]:
        return self.resources["training_sets"][training_set] | {"id": training_set}

    @cached_property
    def trained(self) -> dict[str, dict[str, Any]]:
        """Training specs by model id: every GliZNet variant, then every competitor trained with the same recipe."""
        recipe = {key: value for key, value in (self.config["recipe"] or {}).items() if key != "seeds"}
        specs = {}
        for name, overrides in self.config["gliznet"]["variants"].items():
            options = self.config["gliznet"]["base"] | overrides
            specs[f"gliznet-{name}"] = {"family": "gliznet", "recipe": recipe, "options": options}
        for name, entry in self.config["trained"].items():
            options = {key: value for key, value in entry.items() if key not in ("family", "recipe")}
            specs[name] = {
                "family": entry["family"],
                "recipe": with_overrides(recipe, entry.get("recipe", {})),
                "options": options,
            }
        return specs

    @property
    def trainings(self) -> list[tuple[str, int]]:
        """(model or hybrid, seed) of every training."""
        return [(name, seed) for name in [*self.trained, *self.config["hybrid"]] for seed in self.seeds]

    def training_spec(self, model: str, seed: int) -> dict[str, Any]:
        return self.trained[model] | {"id": model, "seed": int(seed)}

    def source_spec(self, source: str) -> dict[str, Any]:
        """Preset of a source, with its mirror, if any."""
        facts = {key: value for key, value in self.resources["sources"][source].items() if key != "licence"}
        return facts | {"id": source, "mirror": self.config["data"]["mirror"]}

    def licence(self, source: str) -> str:
        """Licence of a source: from the sets that use it, else from the source itself."""
        sets = [*map(self.dataset_spec, self.all_datasets), *map(self.training_set_spec, self.training_sets)]
        stated = dict.fromkeys(spec["licence"] for spec in sets if spec["source"] == source)
        return "; ".join(stated) or self.resources["sources"][source].get("licence", "not stated")

    def model_licences_spec(self, kind: str, name: str) -> dict[str, str]:
        """Licences of a model's origins by id: the fetched model, or backbone and training set.

        Args:
            kind, name: as in `System.model`.
        """
        if kind == "source":
            return {name: self.licence(name)}
        if kind == "trained":
            recipe = self.trained[name]["recipe"]
            rows = self.training_set_spec(recipe["training_set"])
            return {recipe["backbone"]: self.licence(recipe["backbone"]), rows["id"]: rows["licence"]}
        entry = self.config["hybrid"][name]
        nli = self.model_licences_spec("trained" if entry["nli"] in self.trained else "source", entry["nli"])
        return nli | {entry["dataset"]: self.dataset_spec(entry["dataset"])["licence"]}

    def system_licences_spec(self, system: str) -> dict[str, str]:
        """Licences of a system's origins by id; empty for a system without a model."""
        entry = self.systems[system]
        if not entry.model:
            return {}
        return self.model_licences_spec(*entry.model) | {name: self.licence(name) for name in entry.fetched}

    @property
    def gpus(self) -> int:
        """GPUs per training."""
        return (self.config["recipe"] or {}).get("gpus", 1)

    @property
    def strategy(self) -> str:
        """Accelerate strategy by which a training uses its GPUs."""
        return (self.config["recipe"] or {}).get("strategy", "single")

    @property
    def training_sets(self) -> list[str]:
        """Every training set of the run."""
        return list(dict.fromkeys(spec["recipe"]["training_set"] for spec in self.trained.values()))

    def hybrid_spec(self, hybrid: str, seed: int) -> dict[str, Any]:
        """Spec of a HybridNLI training; its NLI model is fetched, or trained in this run with the same seed."""
        entry = self.config["hybrid"][hybrid]
        kind = "trained" if entry["nli"] in self.trained else "source"
        scoring = self.config["scoring"]
        shared = {"precision": scoring["precision"], "token_budget": scoring["token_budget"]}
        settings = {key: value for key, value in entry.items() if key != "blends"}
        return settings | shared | {"id": hybrid, "nli_kind": kind, "seed": int(seed)}

    @cached_property
    def systems(self) -> dict[str, System]:
        """Every system of the run by id, in the order of the tables."""
        systems = []
        everywhere = tuple(self.config["suites"])
        for name, spec in self.trained.items():
            takes = FAMILIES[spec["family"]].takes
            settings = {key: value for key, value in spec["options"].items() if key in takes}
            systems.append(System(name, spec["family"], settings, ("trained", name), self.seeds, everywhere))
        for name, entry in self.config["hybrid"].items():
            suites = tuple(suite for suite in everywhere if entry["dataset"] in self.datasets(suite))
            for blend in entry["blends"]:
                system_id = name if blend == "learned" else f"{name}-{blend}"
                settings = self.hybrid_spec(name, 0) | {"blend": blend, "hybrid": name}
                systems.append(System(system_id, "hybridnli", settings, ("hybrid", name), self.seeds, suites))
        for name, entry in self.config["systems"].items():
            settings = {key: value for key, value in entry.items() if key not in ("family", "model", "suites")}
            model = ("source", entry["model"]) if "model" in entry else None
            systems.append(System(name, entry["family"], settings, model, (UNTRAINED_SEED,), tuple(entry["suites"])))
        in_order = [replace(one, suites=tuple(suite for suite in everywhere if suite in one.suites)) for one in systems]
        return {system.id: system for system in in_order if system.suites}

    def _facts(self, system: System) -> dict[str, Any]:
        """A system's entry in the analysis spec."""
        return {
            "id": system.id,
            "family": system.family,
            "model": system.model[1] if system.model else None,
            "settings": system.settings,
            "seeds": system.seeds,
            "suites": system.suites,
            "trained": system.trained,
            "control": system.family == "control",
            "made_of": self._made_of(system),
        }

    def _made_of(self, system: System) -> list[str]:
        """Origins of a trained system: backbone and training set, or a hybrid's NLI model and dataset."""
        kind, name = system.model or ("", "")
        if kind == "trained":
            recipe = self.trained[name]["recipe"]
            return [recipe["backbone"], recipe["training_set"]]
        if kind == "hybrid":
            entry = self.config["hybrid"][name]
            return [entry["nli"], entry["dataset"]]
        return []

    @property
    def analysis_spec(self) -> dict[str, Any]:
        """Everything that measuring, comparing and rendering depend on besides the cells."""
        suites = {}
        for suite, entry in self.config["suites"].items():
            shown = ("id", "title", "task", "labels", "label_names", "domain")
            datasets = [
                {key: self.dataset_spec(name)[key] for key in shown}
                | {"wordings": len(self.resources["datasets"][name]["verbalisations"])}
                for name in entry["datasets"]
            ]
            suites[suite] = {"title": entry.get("title") or suite, "datasets": datasets, **self._decisions(suite)}
        shared = {key: self.config[key] for key in ("run", "gliznet", "statistics")}
        sensitivity = self.config["scoring"].get("sensitivity") or {}
        return {
            **shared,
            "suites": suites,
            "systems": [self._facts(system) for system in self.systems.values()],
            "sensitivity": sensitivity,
            "claims": self._claims(),
            "label_counts": {name: kind for name, (_, kind) in self.label_counted.items()},
            "confusable": self.config["scoring"].get("confusable") or {},
        }

    def _claims(self) -> dict[str, Any]:
        """The config's claims, and those of the project if a model that they are about is scored."""
        claims = self.resources.get("claims", {})
        if any(system.family in ("gliznet", "hybridnli") for system in self.systems.values()):
            return claims
        return {name: claims[name] for name in self.config.get("claims") or {}}

    def _decisions(self, suite: str) -> dict[str, Any]:
        """Everything that decisions on a suite depend on besides the scores."""
        keys = ("task", "metric", "protocols", "folds", "fold_seed", "partitions")
        return {key: self.config["suites"][suite][key] for key in keys if key in self.config["suites"][suite]}

    @property
    def manifest_spec(self) -> dict[str, Any]:
        return {"licences": {source: self.licence(source) for source in self.sources}}

    @property
    def overlap_spec(self) -> dict[str, Any]:
        return {"datasets": self.all_datasets, "training_sets": self.training_sets}

    @property
    def hardset_spec(self) -> dict[str, Any] | None:
        """Spec of the measurement on hardset-mini's test split; None if the run does not train on hardset-mini."""
        if "hardset-mini" not in self.training_sets:
            return None
        statistics, scoring = self.config["statistics"], self.config["scoring"]
        return {
            "precision": scoring["precision"],
            "token_budget": scoring["token_budget"],
            "models": [name for name, spec in self.trained.items() if spec["family"] == "gliznet"],
            "backbone": self.config["recipe"]["backbone"],
            "seed": self.seeds[0],
            "draws": statistics["draws"],
            "level": statistics["level"],
            "rng": statistics["seed"],
        }

    @cached_property
    def label_counted(self) -> dict[str, tuple[str, str]]:
        """{system: (suite, kind)} of the systems scored with growing numbers of labels.

        These are the systems named in the config, else the first of each kind (the reference system for its own kind).
        """
        options = self.config["scoring"].get("label_counts")
        if not options:
            return {}
        suite = next(name for name in self.config["suites"] if {*options["datasets"]} <= {*self.datasets(name)})
        gliznet, reference = self.config["gliznet"], self.config["statistics"]["system"]
        selected: dict[str, tuple[str, str]] = {}
        for name in sorted(self.systems, key=lambda name: name != reference):
            system = self.systems[name]
            kind = kind_of({"gliznet": gliznet}, self._facts(system)) or system.family
            if "systems" in options:
                chosen = name in options["systems"]
            else:
                chosen = kind in KINDS and kind not in {other for _, other in selected.values()}
            if suite in system.suites and FAMILIES[system.family].reads_labels and chosen:
                selected[name] = suite, kind
        return {name: selected[name] for name in self.systems if name in selected}

    def label_counts_spec(self, system: str) -> dict[str, Any]:
        """Spec for scoring a system with growing numbers of labels; uses its first seed."""
        suite, kind = self.label_counted[system]
        options, seed = self.config["scoring"]["label_counts"], self.systems[system].seeds[0]
        spec = next(one for one in self.score_spec(system, seed) if one["suite"] == suite)
        presets = self.resources["datasets"].values()
        pool = {label for preset in presets for label in next(iter(preset["verbalisations"].values()))}
        return {key: value for key, value in spec.items() if key != "sensitivity"} | {
            "kind": kind,
            "datasets": options["datasets"],
            "counts": options["counts"],
            "rows": options["rows"],
            "tokens": options["tokens"],
            "rows_seed": options["seed"],
            "pool": sorted(pool),
            "training_sets": self.training_sets,
        }

    @property
    def label_pairs_encoder(self) -> str | None:
        """Source of the encoder that finds confusable labels; None if the config does not request it."""
        options = self.config["scoring"].get("confusable")
        return (options.get("encoder") or self.config["recipe"]["backbone"]) if options else None

    @property
    def label_pairs_spec(self) -> dict[str, Any] | None:
        """Spec for finding confusable labels; None if the config does not request it."""
        if not self.label_pairs_encoder:
            return None
        single = [suite for suite, entry in self.config["suites"].items() if entry["task"] == "single"]
        labels = {name: self.dataset_spec(name)["labels"] for suite in single for name in self.datasets(suite)}
        cosine = self.config["scoring"]["confusable"]["cosine"]
        return {"encoder": self.label_pairs_encoder, "cosine": cosine, "datasets": labels}

    @property
    def label_sets_spec(self) -> dict[str, Any] | None:
        """Label sets, and what determines whether a trained system can handle them; None if all can."""
        models: dict[str, dict[str, Any]] = {}
        for name, system in self.systems.items():
            kind, model = system.model or ("", "")
            if kind == "hybrid":
                facts = {"labels": self.dataset_spec(self.config["hybrid"][model]["dataset"])["labels"]}
            elif kind == "trained" and system.family in ("gliznet", "gliclass"):
                spec = self.trained[model]
                limits = {key: spec["recipe"][key] for key in ("max_length", "max_labels")}
                facts = {"backbone": spec["recipe"]["backbone"], "options": spec["options"] | limits}
            else:
                continue
            models[name] = {"family": system.family, "suites": system.suites, **facts}
        suites = self.config["suites"]
        sets = {suite: {name: self.dataset_spec(name)["labels"] for name in self.datasets(suite)} for suite in suites}
        return {"models": models, "datasets": sets} if models else None

    @property
    def speed_spec(self) -> dict[str, Any] | None:
        """Spec of the speed study; None if the config does not request it."""
        return self.config["speed"] | {"run": self.run} if "speed" in self.config else None

    @property
    def tables(self) -> dict[str, ReportItem]:
        """The tables of this run's report by name."""
        return contents.tables(self.analysis_spec)

    @property
    def figures(self) -> dict[str, ReportItem]:
        """The figures of this run's report by name."""
        return contents.figures(self.analysis_spec)

    def score_spec(self, system: str, seed: int) -> list[dict[str, Any]]:
        """Everything that a scoring job depends on besides its input files: a spec per suite of the system."""
        entry, scoring = self.systems[system], self.config["scoring"]
        specs = []
        for suite in entry.suites:
            spec = {
                "suite": suite,
                "task": self.config["suites"][suite]["task"],
                "system": system,
                "family": entry.family,
                "settings": entry.settings,
                "model": entry.model,
                "seed": int(seed),
                "datasets": self.datasets(suite),
                "train_rows": "train-cv" in (self.config["suites"][suite].get("protocols") or ()),
                "precision": scoring["precision"],
                "token_budget": scoring["token_budget"],
            }
            options = scoring.get("sensitivity")
            wanted = options and entry.family != "control" and system in options.get("systems", [system])
            if wanted and spec["task"] == "single":
                presets = self.resources["datasets"] if options["wordings"] else {}
                wordings = {name: presets[name]["verbalisations"] for name in self.datasets(suite) if presets}
                spec["sensitivity"] = {key: value for key, value in options.items() if key != "systems"}
                spec["sensitivity"]["wordings"] = wordings
            specs.append(spec)
        return specs

    def measure_spec(self, system: str, seed: int) -> dict[str, Any]:
        """Everything that the metrics of a system and seed depend on besides its scores."""
        entry, suites = self.systems[system], {}
        for suite in entry.suites:
            facts = {name: self.dataset_spec(name) for name in self.datasets(suite)}
            datasets = [{key: facts[name][key] for key in ("id", "task", "label_names")} for name in facts]
            suites[suite] = {"datasets": datasets, **self._decisions(suite)}
        return {"system": system, "seed": int(seed), "settings": entry.settings, "suites": suites}

    @property
    def jobs(self) -> list[tuple[str, int]]:
        """(system, seed) of every scoring job."""
        return [(name, seed) for name, entry in self.systems.items() for seed in entry.seeds]

    @property
    def cells(self) -> list[tuple[str, str, str, int]]:
        """(suite, dataset, system, seed) of every cell of the run."""
        return [
            (suite, dataset, system, seed)
            for suite in self.config["suites"]
            for system, seed in self.jobs
            if suite in self.systems[system].suites
            for dataset in self.datasets(suite)
        ]

    def datasets_of(self, system: str) -> list[str]:
        """Every dataset that a system is scored on."""
        return [dataset for suite in self.systems[system].suites for dataset in self.datasets(suite)]

    @property
    def sources(self) -> list[str]:
        """Every source this run fetches."""
        wanted = [self.resources["datasets"][dataset]["source"] for dataset in self.all_datasets]
        recipes = [spec["recipe"] for spec in self.trained.values()]
        wanted += [self.resources["training_sets"][recipe["training_set"]]["source"] for recipe in recipes]
        wanted += [recipe["backbone"] for recipe in recipes]
        for system in self.systems.values():
            wanted += system.fetched
        wanted += [self.label_pairs_encoder] if self.label_pairs_encoder else []
        wanted += [self.config["speed"]["backbone"]] if "speed" in self.config else []
        wanted += [entry["nli"] for entry in self.config["hybrid"].values() if entry["nli"] not in self.trained]
        return list(dict.fromkeys(wanted))
