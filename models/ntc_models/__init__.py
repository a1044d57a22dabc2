"""Training of ntc's traffic classifiers: `ntc extract`'s flows in, model bundles out.

Read in this order; a module imports only from those before it:

    catalogue      services.csv: the stable ids, protocols and classes of services
    data           Parquet and labels -> tensor, vocabulary, folds by repository
    ports          what ports say: the server's end, their scale as an input, the table that is the baseline
    architectures  the networks, layer by layer
    augment        what a stranger's network does to a flow
    evaluate       figures at service, protocol and class level
    train          one network, trained and calibrated
    study          the runs behind a bundle, resumable
    card, export   the bundle: model.onnx, model.toml, card.md
    __main__       the command line
"""
