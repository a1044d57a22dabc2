"""Which flows are held out, by rule and seed; `models/study/splits/` has the digest of each split.

    random              15% of the flows at random, label frequencies kept: the paper's split. Flows of one capture are
                        on both sides, so it flatters.
    by-capture          no capture is on both sides
    by-repository       no repository or family of repositories is on both sides: the headline (fold 0 of five)
    by-repository-1..4  the other folds
    all                 nothing is held out: the networks that ship
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import data

# -- knobs -------------------------------------------------------------------------------------------------------------
HELD_OUT_SHARE = 0.15  # of the random split, as in the paper
# ----------------------------------------------------------------------------------------------------------------------

NAMES = ("random", "by-capture", "by-repository", *(f"by-repository-{fold}" for fold in range(1, data.FOLDS)), "all")


@dataclass(frozen=True)
class Split:
    name: str
    held_out: np.ndarray  # one truth value a flow
    description: dict  # what the split's file holds

    @property
    def sha256(self):
        return self.description["sha256"]


def make(name, flows):
    if name == "random":
        held_out, more = stratified(flows.service), {"seed": data.SPLIT_SEED, "share": HELD_OUT_SHARE}
    elif name == "by-capture":
        # A capture's name is unique in the corpus.
        folds = data.deal(flows.capture)
        held_out, more = folds == 0, {"seed": data.SPLIT_SEED, "folds": data.FOLDS, "fold": 0}
    elif name.startswith("by-repository"):
        fold = int(name.removeprefix("by-repository").strip("-") or 0)
        folds = data.folds_by_repository(flows)
        held_out = folds == fold
        more = {"seed": data.SPLIT_SEED, "folds": data.FOLDS, "fold": fold,
                "repositories": dict(sorted(Counter(map(str, flows.repo[held_out])).items()))}
    elif name == "all":
        held_out, more = np.zeros(len(flows), dtype=bool), {}
    else:
        raise ValueError(f"no split is called {name}")
    digest = hashlib.sha256(np.packbits(held_out).tobytes()).hexdigest()
    return Split(name, held_out, {"name": name, "data_sha256": flows.digest(), "flows": len(flows),
                                  "held_out": int(held_out.sum()), "sha256": digest, **more})


def stratified(labels, share=HELD_OUT_SHARE, seed=data.SPLIT_SEED):
    """Holds out `share` of the flows so that every label keeps its frequency, the rare ones in sum.

    Flows are ordered by label, at random within one, and taken at equal distances.
    """
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big"))
    order = np.lexsort([random.random(len(labels)), labels.astype(str)])
    steps = np.floor((np.arange(len(labels) + 1) + random.random()) * share)
    held_out = np.zeros(len(labels), dtype=bool)
    held_out[order] = np.diff(steps) > 0
    return held_out


def keep(split, folder):
    """Writes a split's file, or refuses a split that is not the one in the file."""
    path = Path(folder) / f"{split.name}.json"
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept != split.description:
            raise ValueError(f"{path} is of another split or other data: compare, and delete it to begin anew")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(split.description, indent=1) + "\n", encoding="utf-8")
