"""A bundle out of the study: the network that was trained on all flows, with the figures of its like by repository.

    by-repository, strangers' recipe  temperature, least confidence and the headline figures
    all, strangers' recipe            the network that ships
    random, paper's recipe            for comparison with papers
"""

from . import card, evaluate, export, folds, learn, residual, runs, study, train

BASELINES = {"majority": "majority", "port_table": "port-table"}  # in the manifest: the run's architecture


def make(name, out, corpus, work, device, results, say=print):
    """Does the runs that have no result yet and writes the bundle's folder."""
    wanted = {"strangers": runs.Run(name, "by-repository", recipe="strangers"), "random": runs.Run(name, "random"),
              **{f"{split}/{key}": runs.Run(baseline, split) for split in study.TWO_SPLITS
                 for key, baseline in BASELINES.items()}}
    for run in study.todo(list(wanted.values()), corpus.flows, results):
        study.run_one(run, corpus.flows, corpus.catalogue, work, device, results)
    found = {key: results.get(run) for key, run in wanted.items()}
    # Goes on from its checkpoint, so that nothing is trained twice where the study did it already.
    final = runs.Run(name, "all", recipe="strangers")
    missing = study.todo([final], corpus.flows, results)
    shipped, trained = runs.execute(final, corpus, work, device, say)
    if missing:
        results.put(final, shipped)
    shipped = results.get(final)  # where the study trained it, also by what
    strangers = found["strangers"]
    probability = train.probabilities(train.logits_of(trained.network, corpus.flows.packets, "cpu"),
                                      strangers["temperature"])
    export.write_bundle(
        out, architecture=name, network=trained.network, labels=trained.labels, catalogue=corpus.catalogue,
        temperature=strangers["temperature"], min_confidence=strangers["min_confidence"], flows=corpus.flows,
        training={"run": final.id, "epochs": final.epochs, "seed": final.seed, "recipe": final.recipe,
                  "device": shipped["device"], "split_sha256": strangers["split_sha256"],
                  "code_sha256": shipped["code_sha256"]},
        evaluation={"by_repository": beside(found, "strangers", "by-repository"),
                    "random": beside(found, "random", "random"), "answered": strangers["answered"],
                    "all": on_all(probability, trained.labels, corpus)},
        by_protocol=strangers["by_protocol"])


SMALL, INT8 = f"{residual.NAME}-small", f"{residual.NAME}-int8"
# The variants by which each is judged and calibrated, and trained.
RESIDUAL = {residual.NAME: (folds.DEFAULT, folds.SHIPPED), SMALL: (folds.SMALL, folds.SMALL_SHIPPED),
            INT8: (folds.DEFAULT, folds.SHIPPED)}


def make_residual(name, out, corpus, workshop):
    """`residual-prior`, the default, and its variants: trained on all flows; calibrated, and judged, by networks of the
    five folds by repository.
    """
    flows, catalogue = corpus.flows, corpus.catalogue
    (judged, recipe), seed = map(folds.variant, RESIDUAL[name]), folds.SEEDS[0]
    parts = [folds.Fold(split, flows, catalogue, judged, workshop.more) for split in folds.SPLITS]
    crossed = folds.Crossed(judged, seed, parts, workshop)
    said = folds.answers(crossed.probabilities, parts, catalogue)
    labels = folds.vocabulary(flows, catalogue, recipe, workshop.more)
    network = workshop.network("all", flows, labels, recipe, seed)
    network.trust.copy_(crossed.final[0])
    network.temperature.copy_(crossed.final[1])
    wanted, guess, repos, off_port, confidence = folds.pooled(said, parts, catalogue)
    weight = train.pair_weights(repos, wanted)
    least = runs.least(confidence, wanted == guess, weight)
    strangers = folds.mean_over_folds(folds.figures(said, parts, catalogue))
    table = folds.mean_over_folds(folds.figures(folds.port_table(parts), parts, catalogue))
    given = confidence >= least
    probability = train.probabilities(train.logits_of(network, flows.packets, "cpu"), 1.0)
    evaluation = {"folds": strangers, "port_table": table, "interval": evaluate.interval(wanted, guess, repos),
                  "answered": {"share": float(given.mean()), "accuracy": evaluate.mean((wanted == guess)[given])}}
    of_more = {"generated_flows": len(workshop.more), "generated_sha256": workshop.more.digest()} if recipe.generated else {}
    quantised = None
    if name == INT8:
        # Convolutions of 8 bits take two thirds of the time of such products.
        quantised = export.quantised(export.onnx_bytes(network, 1.0, by_products=False), flows.packets)
        floats, probability = probability, export.ask(quantised, flows.packets)
        alike = [evaluate.answer(one, labels, catalogue) for one in (floats, probability)]
        evaluation["agreement"] = {"service": float((alike[0].service == alike[1].service).mean()),
                                   "protocol": float((alike[0].protocol == alike[1].protocol).mean())}
    evaluation["all"] = on_all(probability, labels, corpus)
    export.write_bundle(
        out, architecture=residual.NAME, network=network, labels=labels, catalogue=catalogue, temperature=1.0,
        method="trust in ports, and a temperature by state of the ports and number of packets, in the graph: fitted "
               "on repositories not trained on", min_confidence=least, flows=flows,
        training={"recipe": RESIDUAL[name][1], "judged_by": RESIDUAL[name][0],
                  "judged_labels": [len(part.labels) for part in parts], **learn.describe(recipe), **of_more, "seed": seed,
                  "trust": [round(float(value), 4) for value in crossed.final[0]],
                  "temperatures": [round(float(value), 4) for value in crossed.final[1]]},
        evaluation=evaluation, by_protocol=folds.by_protocol(wanted, guess), text=card.card_of_residual,
        quantised=quantised)


def on_all(probability, labels, corpus):
    """PyTorch's figures of the network that ships, on all that it was trained on: no measure of how good it is, but
    what `ntc eval` has to find as well.
    """
    answers = evaluate.answer(probability, labels, corpus.catalogue)
    return {level: evaluate.evaluate(corpus.flows, answers, labels, corpus.catalogue, level,
                                     corpus.port_labels[level]) for level in evaluate.LEVELS}


def beside(found, key, split):
    """The figures of a run with those of its baselines at each level."""
    return {level: {**figures, **{name: found[f"{split}/{name}"]["figures"][level] for name in BASELINES}}
            for level, figures in found[key]["figures"].items()}
