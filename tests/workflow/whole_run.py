"""A whole run within seconds: every stage of the workflow on miniature replicas, in its own folder."""

import contextlib
import copy
import fcntl
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml

from tests.processes import wait_for
from zsbench.config.load import resolve
from zsbench.plan.plan import Plan

from .conftest import REPOSITORY, Project

HEADS = {
    "epochs": 2,
    "batch_size": 16,
    "learning_rate": 3.0e-4,
    "weight_decay": 1.0e-4,
    "grad_clip": 1.0,
    "patience": 7,
    "blend_weight": 1.0,
    "kl_weight": 0.3,
    "num_codes": 2,
    "proj_dim": 8,
    "max_length": 128,
}
HYBRID = {
    "nli": "deberta-v3-base-zeroshot",
    "dataset": "topics-published",
    "nli_only": ["Health"],
    "template": "This example is {}.",
    "blends": ["learned"],
    "training": HEADS,
}
RECIPE = {
    "backbone": "deberta-v3-base-zeroshot",
    "training_set": "zshot-hardset-v2",
    "seeds": [1],
    "steps": 4,
    "effective_batch": 4,
    "per_device_batch": 2,
    "learning_rate": 1.0e-4,
    "head_learning_rate": 1.0e-3,
    "weight_decay": 0.01,
    "warmup_ratio": 0.1,
    "max_grad_norm": 1.0,
    "max_labels": 20,
    "label_draw": "stratified",
    "max_length": 256,
    "evaluate_every": 2,
    "patience": 3,
    "selection": "mean_ap",
    "precision": "fp32",
    "strategy": "single",
    "gpus": 1,
}
CONFIG = {
    "run": "tiny",
    "suites": {
        "topics": {
            "task": "multi",
            "datasets": ["topics-published"],
            "verbalisations": {"topics-published": "described"},
            "protocols": ["fixed-0.5", "val-tuned"],
            "folds": 2,
        }
    },
    "recipe": RECIPE,
    "gliznet": {"base": {}, "variants": {"full": {}}},
    "hybrid": {"hybrid": HYBRID},
    "systems": {},
    "scoring": {"precision": "fp32", "token_budget": 8192},
    "statistics": {"draws": 100, "seed": 11, "level": 0.95, "system": "gliznet-full"},
}
# Records every connection that Python code of a run tries to open, even if its failure is caught.
JOURNAL = """
import os, sys
def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        where = arguments[1] if event == "socket.connect" else arguments[:2]
        if isinstance(where, tuple) and str(where[0]) not in ("127.0.0.1", "::1", "localhost", "None"):
            with open(os.environ["CONNECTIONS"], "a") as journal:
                journal.write(f"{sys.argv[:4]} {event} {where}\\n")
sys.addaudithook(note)
"""
LEFT = ("*.tmp", ".writing-*", ".*.partial", ".*.part", "partial", "work", "*.new")  # names of incomplete files
KINDS = {  # process to kill -> words in its command line, and words not in it
    "workflow": (("-m", "snakemake"), ()),
    "launcher": (("zsbench", "launch"), ("bash",)),
    "trainer": (("zsbench.cli job train",), ("launch",)),
    "scorer": (("zsbench.cli job score",), ("launch",)),
    "renderer": (("job tables",), ("bash",)),
}


class WholeRun(Project):
    """The tiny run in a folder; `mirror` holds its replicas."""

    def __init__(self, folder: Path, mirror: Path) -> None:
        folder.mkdir()
        super().__init__(folder)
        self.lives: dict[str, float] = {}
        (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
        hook = folder / "hook"
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(JOURNAL)
        self.environment = os.environ | {
            "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{hook}",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "ZSBENCH_MIRROR": str(mirror),
            "ZSBENCH_LEASES": str(folder / "leases"),
            "ZSBENCH_FAKE_GPUS": "2",
            "CONNECTIONS": str(folder / "connections"),
            "OMP_NUM_THREADS": "1",
        }

    @property
    def results(self) -> Path:
        return self.folder / "results" / "tiny"

    @property
    def reports(self) -> Path:
        return self.folder / "reports" / "tiny"

    def start(self, cores: int, prefix: tuple[str, ...] = (), arguments: tuple[str, ...] = ()) -> subprocess.Popen:
        """The one command of these tests."""
        command = [*prefix, sys.executable, "-m", "snakemake", "--cores", str(cores), "--configfile", "tiny.yaml"]
        log = (self.folder / "log").open("a")
        return subprocess.Popen(
            [*command, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def finish_run(self, cores: int, prefix: tuple[str, ...] = ()) -> None:
        code = self.start(cores, prefix).wait()
        assert code == 0, (self.folder / "log").read_text()[-4000:]

    def time_run(self, cores: int, prefix: tuple[str, ...] = ()) -> dict[str, float]:
        """Finish the run and time its processes: the shortest lifetime of each kind, in seconds.

        That of the workflow ends with the first training, so that killing it within this time leaves work to do.
        """
        seen: dict[tuple[str, int], list[float]] = {}
        start = time.monotonic()
        workflow = self.start(cores, prefix)
        while workflow.poll() is None:
            for kind in KINDS:
                for process in self.processes(kind):
                    seen.setdefault((kind, process.pid), []).append(time.monotonic())
            time.sleep(0.1)
        assert workflow.returncode == 0, (self.folder / "log").read_text()[-4000:]
        lives = {kind: min(t[-1] - t[0] for (k, _), t in seen.items() if k == kind) for kind in KINDS}
        return lives | {"workflow": min(t[-1] for (k, _), t in seen.items() if k == "trainer") - start}

    def processes(self, kind: str | None = None) -> list[psutil.Process]:
        """Live processes of this run, of one kind or of all."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.environ().get("ZSBENCH_LEASES") != self.environment["ZSBENCH_LEASES"]:
                    continue
                command = process.cmdline()
                if not command:  # it is about to end
                    continue
                words = " ".join(command)
                wanted, other = KINDS[kind] if kind else ((), ())
                name = Path(command[0]).name
                if all(word in words for word in wanted) and name not in other and not any(w in words for w in other):
                    found.append(process)
        return found

    def kill(self, kind: str, cores: int, seed: int, life: float) -> bool:
        """Start the run, kill -9 one process of this kind at a random moment of its life, wait for the rest to end.

        Args:
            life: How long a process of this kind lives on this machine, in seconds. The moment is drawn from its first
                two thirds, and from half of that after every process that ended sooner.

        Returns:
            Whether there was one to kill.
        """
        workflow, moment, longest = self.start(cores), random.Random(seed), life * 2 / 3
        hit = False
        while workflow.poll() is None and not hit:
            for victim in self.processes(kind)[:1]:
                time.sleep(moment.uniform(0, longest))
                longest /= 2
                with contextlib.suppress(psutil.NoSuchProcess):
                    hit = victim.is_running() and victim.status() != psutil.STATUS_ZOMBIE
                    victim.kill()
            time.sleep(0.05)
        workflow.wait()
        wait_for(lambda: not self.processes())
        return hit

    def left_behind(self) -> list[str]:
        """Temporary files, held locks, and Snakemake's records of incomplete work."""
        found = [path for root in (self.results, self.reports) for name in LEFT for path in root.rglob(name)]
        found += [path for name in ("locks", "incomplete") for path in (self.folder / ".snakemake" / name).rglob("*")]
        for path in [*self.folder.rglob("*.lock"), *self.folder.glob(".snakemake/live")]:
            with path.open("rb") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.append(path)
        return [str(path.relative_to(self.folder)) for path in found]


def write_mirror(folder: Path) -> Path:
    """Write the replicas that the tiny run fetches."""
    config = folder / "tiny.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    command = [sys.executable, "-m", "tests.rehearsal", "mirror", str(folder / "mirror"), "--config", str(config)]
    subprocess.run(
        [*command, "--resources", str(REPOSITORY / "workflow" / "resources")], check=True, capture_output=True
    )
    return folder / "mirror"


def without_network() -> tuple[str, ...]:
    """A command prefix that disables the network; () if the user lacks the permission for it."""
    for prefix in (("unshare", "-n"), ("unshare", "-rn")):
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run([*prefix, "true"], capture_output=True).returncode == 0:
                return prefix
    return ()


def tiny_plan() -> Plan:
    """The plan of the tiny run, as in the Snakefile."""
    config = copy.deepcopy(CONFIG)
    return Plan(config, resolve(config, REPOSITORY / "workflow"))


def damage(path: Path, kind: str, seed: int) -> None:
    """Flip one bit of a file or truncate it, like a bad disk, without changing its modification time."""
    before, content = path.stat(), bytearray(path.read_bytes())
    place = random.Random(f"{path.name} {kind} {seed}").randrange(len(content))
    if kind == "flipped":
        content[place] ^= 1 << (place % 8)
    else:
        del content[place:]
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
