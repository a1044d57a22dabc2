"""`card.md`: what a bundle is and how good it is, in words that do not flatter."""

LEVELS = ("service", "protocol", "class")


def card(manifest, by_protocol=()):
    model, output, training, evaluation = (manifest[key] for key in ("model", "output", "training", "evaluation"))
    strangers = evaluation.get("by_repository")
    random = evaluation.get("random")
    parts = [
        f"# {model['name']} {model['version']}",
        "A traffic classifier: the first 20 packets of a TCP or UDP flow, six header features each, to one of "
        f"{len(output['labels'])} services. Neither addresses nor payload are read. The architecture is "
        f"{paper_name(model['architecture'])} of Lopez-Martin et al. 2017 (doi 10.1109/ACCESS.2017.2747560), layer by "
        f"layer: `{model['layers']}`. Input scaling, calibration and softmax are inside the graph.",
        "## How good it is",
    ]
    if strangers:
        parts += [
            "**By repository** is the figure to expect: captures of repositories, so of people and networks, that the "
            f"network has not seen in training ({strangers['protocol']['flows']} flows). **Random split** holds out "
            "flows of the captures that it was trained on, as papers do, and trains as the paper did; it flatters. "
            "The network by repository was trained as the shipped one was, without the held-out flows; the shipped one "
            "is trained on all, so no figure is its own. Macro F1 is over labels with 5 flows or more. A flow whose label a network does not know is counted "
            f"wrong; *known* leaves such flows out ({strangers['protocol']['known_flows']} are left: most industrial "
            "protocols of these repositories are in no other).",
            figures(strangers, random),
            "Majority and port table are computed in the same run: the table gives, for protocol and server port, the "
            "label that most repositories have there. **Where services keep their ports, a table does as well or "
            "better**; what it cannot do is answer on other ports, or know when it is wrong.",
            "Held-out repositories are few, and errors come in blocks (one capture, one cause): another draw of "
            "repositories moves accuracy by about five points.",
        ]
        parts += ["### By protocol, held-out repositories", protocols(by_protocol)]
    else:
        parts.append("Not evaluated: a preliminary network that was trained for a few epochs.")
    parts += [
        "## Answers",
        "The protocol is the one with the highest summed probability over its services, the service the likeliest of "
        f"that protocol, the class that of the service. Below a protocol probability of {output['min_confidence']} the "
        "answer is `unknown`: on the repositories used for calibration alone this costs one right answer in a hundred. "
        f"The temperature ({training['temperature']}), fitted on the same repositories, is folded into the graph."
        + (f" On the held-out repositories {evaluation['answered']['share']:.0%} of flows got an answer, "
           f"{evaluation['answered']['accuracy']:.0%} of these with the right protocol." if strangers else "")
        + (f" Calibration error at protocol level on the held-out repositories: {strangers['protocol']['ece']:.3f}."
           if strangers else ""),
        "## Training",
        f"{training['flows']} flows of public captures from {training['repositories']} repositories, labelled "
        "by nDPI's payload inspection (nfstream 6.6), at most 300 flows of one label in one capture. Cross entropy of service "
        "and protocol, Adam, one cycle of the learning rate; a (repository, label) pair weighs with the root of "
        "its flows. In training, client ports are drawn anew, gaps and windows stretched, flows cut short or begun "
        f"late, as they will be elsewhere. Epochs: {training.get('epochs', '-')}. Digest of the training data: "
        f"`{manifest['digest']['training_data_sha256']}`.",
        "## Limits",
        "- Labels are nDPI's own, unchecked by a second tool. Rare labels often come from one capture.\n"
        "- Test-suite, industrial and malware captures are over-represented, today's web is under-represented; half of "
        "the flows are from 2015 to 2019.\n"
        "- A service with fewer than 10 labelled flows is not in the vocabulary and cannot be answered "
        "(CoAP, MySQL, PostgreSQL, Redis and rsync among them).\n"
        "- `DNS.*` is one service: who asks is in the payload. Applications inside TLS and QUIC are mostly guessed "
        "from sizes; trust the protocol rather than the application.\n"
        "- It leans on ports. A service on another port is often taken for that port's usual one.",
    ]
    return "\n\n".join(parts) + "\n"


GENERATED = ("{generated:.0%} of the draws in training are of {generated_flows} flows between servers and clients that were set up for it "
             "(`cargo xtask generate`; digest `{generated_sha256}`), of those whose protocol is among the labels. They are no evidence "
             "for ports.")
EIGHT_BITS = ("Convolutions and products are computed in 8 bits. On the flows of the training data {service:.2%} of the services "
              "and {protocol:.2%} of the protocols are those of the same network in floats, whose figures follow.")


def card_of_residual(manifest, by_protocol):
    model, output, training, evaluation = (manifest[key] for key in ("model", "output", "training", "evaluation"))
    net, table, interval = evaluation["folds"], evaluation["port_table"], evaluation["interval"]
    protocol = net["all"]["protocol"]
    rows = ["| level | accuracy | macro F1 | port table: accuracy, macro F1 | off-port | calibration error "
            "| surest 90% |", "| --- | --- | --- | --- | --- | --- | --- |"]
    rows += [f"| {level} | {one['accuracy']:.3f} | {one['macro_f1']:.3f} | {of_table['accuracy']:.3f}, "
             f"{of_table['macro_f1']:.3f} | {number(one['off_port_accuracy'])} | {one['ece']:.3f} "
             f"| {one['coverage_90_accuracy']:.3f} |"
             for level in LEVELS for one, of_table in [(net["all"][level], table["all"][level])]]
    asked = ["| asked | protocol accuracy | macro F1 | off-port | calibration error |", "| --- | --- | --- | --- | --- |"]
    asked += [f"| {name.replace('-', ' ')} | {one['protocol']['accuracy']:.3f} | {one['protocol']['macro_f1']:.3f} "
              f"| {number(one['protocol']['off_port_accuracy'])} | {one['protocol']['ece']:.3f} |"
              for name, one in net.items()]
    parts = [
        f"# {model['name']} {model['version']}",
        "A traffic classifier: the first 20 packets of a TCP or UDP flow, six header features each, to one of "
        f"{len(output['labels'])} services. Neither addresses nor payload are read. `{model['layers']}`. What repositories saw on each port "
        "is in the graph as a prior; with all ports zero there is none, and behaviour alone answers.",
        *([EIGHT_BITS.format(**evaluation["agreement"])] if "agreement" in evaluation else []),
        "## How good it is",
        "**By repository**: five networks, each asked about the fifth of the repositories (people, networks) that it has "
        "not seen; the mean of the five folds, over flows whose label the network knows. Each was trained as the "
        "shipped one, which is trained on all, so no figure is its own; only the shipped one also knows services with "
        "3 to 9 flows from two sources, whose ports it goes by. *Off-port*: where the port table of the "
        "repositories seen is wrong or silent. Macro F1 is over labels with 5 flows or more.",
        "\n".join(rows),
        f"95% interval of protocol accuracy when repositories are drawn anew, all folds together: "
        f"{interval['accuracy'][0]:.3f} to {interval['accuracy'][1]:.3f}; macro F1 {interval['macro_f1'][0]:.3f} to "
        f"{interval['macro_f1'][1]:.3f}. Flows of unknown labels are told from known ones by confidence with an area "
        f"under the curve of {number(protocol['unknown_auroc'])}.",
        "*Other port*: every server port is drawn at random. *First N*: asked after so many packets.",
        "\n".join(asked),
        "### By protocol, all folds", protocols(by_protocol),
        "## Answers",
        "The protocol is the one with the highest summed probability over its services, the service the likeliest of "
        "that protocol, the class that of the service. Labels such as `unknown.web` are of what has no name: where they are "
        "together likelier than that protocol, the class is the likeliest one's. "
        f"Below a probability of {output['min_confidence']} the answer is `unknown`: on repositories not trained on this costs one right answer in a hundred, "
        f"{evaluation['answered']['share']:.1%} of known flows get an answer, and "
        f"{evaluation['answered']['accuracy']:.1%} of these answers are right.",
        "## Training",
        f"{training['flows']} flows of public captures from {training['repositories']} repositories, labelled "
        "by nDPI's payload inspection (nfstream 6.6), at most 300 flows of one label in one capture. A flow's prior "
        f"leaves its own repository out. Recipe and seed are in `model.toml`. Digest of the training data: "
        f"`{manifest['digest']['training_data_sha256']}`.",
        *([GENERATED.format(**training)] if training["generated"] else []),
        "## Limits",
        "- Labels are nDPI's own, unchecked by a second tool. Rare labels often come from one capture.\n"
        "- Test-suite, industrial and malware captures are over-represented, today's web is under-represented.\n"
        "- A service with fewer than 10 labelled flows, or fewer than 3 where two repositories, or one and the generated "
        "traffic, have it, is not in the vocabulary and cannot be answered.\n"
        "- `DNS.*` is one service: who asks is in the payload. Applications inside TLS and QUIC are mostly guessed "
        "from sizes; trust the protocol rather than the application.\n"
        "- docs/model.md says when to trust an answer.",
    ]
    return "\n\n".join(parts) + "\n"


def number(value):
    return "-" if value is None else f"{value:.3f}"


def paper_name(architecture):
    """`cnn-rnn-2a` as the paper writes it."""
    return architecture.upper().replace("CNN-RNN", "CNN+RNN").replace("2A", "2a").replace("3A", "3a")


def figures(strangers, random):
    lines = ["| split | level | accuracy | known | weighted F1 | macro F1 | port table: accuracy, macro F1 "
             "| majority |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for title, found in (("by repository", strangers), ("random", random)):
        if not found:
            continue
        for level in LEVELS:
            row = found[level]
            table = row.get("port_table", {})
            lines.append(
                f"| {title} | {level} | {row['accuracy']:.3f} | {row['known_accuracy']:.3f} | {row['weighted_f1']:.3f} "
                f"| {row['macro_f1']:.3f} | {table['accuracy']:.3f}, {table['macro_f1']:.3f} "
                f"| {row['majority']['accuracy']:.3f} |")
    return "\n".join(lines)


def protocols(rows):
    lines = ["| protocol | flows | recall | precision |", "| --- | --- | --- | --- |"]
    for row in rows:
        lines.append(f"| {row['protocol']} | {row['flows']} | {row['recall']:.2f} | {row['precision']:.2f} |")
    return "\n".join(lines)
