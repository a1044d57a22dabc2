import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import make_flows
from ntc_models import architectures, augment, bundle, calibrate, data, export, folds, learn, residual, runs
from ntc_models.data import DIRECTION, DST_PORT, GAP, PAYLOAD, SRC_PORT, WINDOW
from ntc_models.ports import CalledPorts, Prior

SHAPE = residual.SHAPES["full"]
QUICK = replace(learn.Recipe(), epochs=2, draws=960, batch=64, average=0.9)


@pytest.fixture(scope="module")
def trained():
    from conftest import KINDS
    from ntc_models.catalogue import Service

    flows = make_flows()
    catalogue = {name: Service(index + 1, name, name.split(".")[0], "web") for index, name in enumerate(KINDS)}
    labels = data.vocabulary(flows)
    network = learn.learn(flows, labels, catalogue, recipe=QUICK, seed=1, say=lambda text: None)
    return network, flows, labels, catalogue


def probabilities(network, packets):
    with torch.no_grad():
        return torch.softmax(network(torch.as_tensor(packets)), 1).numpy()


def test_it_learns_what_is_easy_and_is_small(trained):
    network, flows, labels, catalogue = trained
    strangers = make_flows(80, seed=9)
    said = np.array(labels, dtype=object)[probabilities(network, strangers.packets).argmax(1)]
    assert np.mean([name.split(".")[0] == wanted for name, wanted in zip(said, strangers.protocol)]) > 0.9
    assert network(torch.zeros(3, 20, 6)).shape == (3, len(labels))
    of_2a = architectures.multiply_adds(architectures.build("cnn-rnn-2a", 149))
    members = folds.variant(folds.SHIPPED).members
    whole = residual.together([residual.ResidualPrior(149, 10) for _ in range(members)])
    assert architectures.multiply_adds(whole) < of_2a / 3


def test_padding_changes_nothing(trained):
    network, flows, _, _ = trained
    real = residual.real_packets(torch.as_tensor(flows.packets)).sum(1).numpy()
    assert (real == flows.length).all()
    # What a convolution makes of padding must not reach the packets: a short flow has one answer, alone or beside others.
    short = flows.packets[flows.length < 6][:4]
    alone = np.concatenate([probabilities(network, row[None]) for row in short])
    np.testing.assert_allclose(alone, probabilities(network, np.concatenate([short, flows.packets[:50]]))[:4], atol=1e-6)
    value = torch.randn(2, SHAPE.width, SHAPE.looked_at)
    mask = (torch.arange(SHAPE.looked_at) < 5).float().expand(2, 1, -1)
    block = network.members[0].behaviour.blocks[-1]
    other = value.clone()
    other[:, :, 5:] = 100.0
    with torch.no_grad():
        assert torch.equal(block(value * mask, mask), block(other * mask, mask))
        assert (block(value * mask, mask)[:, :, 5:] == 0).all()


def test_packets_count_without_their_ports(trained):
    _, flows, _, _ = trained
    real = residual.real_packets(torch.as_tensor(learn.without_ports(flows.packets)))
    assert (real.sum(1).numpy() == flows.length).all()
    assert residual.real_packets(torch.zeros(1, 20, 6)).sum() == 1


def test_ports_of_zero_switch_the_prior_off(trained):
    network, flows, _, _ = trained
    blind = torch.as_tensor(learn.without_ports(flows.packets))
    with torch.no_grad():
        before = network.say(blind)
        assert (before.evidence == 0).all() and (before.groups == 0).all()
        assert (before.cell >= residual.PORT_STATES.index("none") * len(residual.TEMPERATURE_PACKETS)).all()
        tables = network.ports.evidence.clone()
        network.ports.evidence.mul_(-3)
        assert torch.equal(before.logits, network.say(blind).logits)
        assert not torch.equal(network.say(torch.as_tensor(flows.packets)).evidence * 0, tables[0])
        network.ports.evidence.copy_(tables)


def test_the_prior_speaks_for_the_servers_port_in_both_directions(trained):
    network, flows, labels, _ = trained
    dns = flows.packets[flows.service == "DNS"][:5]
    turned = dns[:, :, [DST_PORT, SRC_PORT, PAYLOAD, WINDOW, GAP, DIRECTION]]
    with torch.no_grad():
        there, back = (network.ports(torch.as_tensor(np.ascontiguousarray(packets))) for packets in (dns, turned))
    assert (there[0].argmax(1) == labels.index("DNS")).all() and torch.equal(there[0], back[0])
    assert there[2].all() and not back[2].any()
    # TCP port 53 was not seen: not UDP's evidence.
    tcp = dns.copy()
    tcp[:, :, WINDOW] = 1000
    with torch.no_grad():
        assert (network.ports(torch.as_tensor(tcp))[1] == 0).all()


def test_no_port_is_learnt_by_heart(trained):
    network, flows, _, _ = trained
    packets = flows.packets[flows.service == "TLS"][:8].copy()
    moved = packets.copy()
    for column in (SRC_PORT, DST_PORT):
        moved[:, :, column] = np.where(moved[:, :, column] == 443, 21234, moved[:, :, column])
    again = np.where(moved == 21234, 25678, moved)
    with torch.no_grad():
        first, second = (network.say(torch.as_tensor(value)) for value in (moved, again))
    assert (first.evidence == 0).all() and torch.allclose(first.logits, second.logits, atol=1e-5)
    assert not torch.allclose(first.logits, network.say(torch.as_tensor(packets)).logits, atol=1e-2)


def test_a_flows_own_repository_is_left_out_of_its_prior():
    flows = make_flows(48, repositories=12)
    alone = flows[flows.repo == "someone/captures-3"]
    odd = data.Flows(**{**alone.__dict__, "packets": np.where(alone.packets == 443, 8443, alone.packets)})
    both = data.Flows(*(np.concatenate([getattr(flows, name), getattr(odd, name)]) for name in flows.__dict__))
    labels = data.vocabulary(both)
    prior = Prior(both, labels, CalledPorts(both))
    evidence, summary = prior.without_own(both)
    tls = (odd.service == "TLS").argmax() + len(flows)
    assert (evidence[tls] == 0).all() and (summary[tls] == 0).all()  # only its own repository knows the port
    assert prior.log_evidence[int(prior.row[8443])].argmax() == labels.index("TLS")
    dns = int((flows.service == "DNS").argmax())
    assert evidence[dns].argmax() == labels.index("DNS")
    groups = np.expm1(summary[dns, 2] * 4)
    assert groups == pytest.approx(len(set(flows.repo)) - 1, rel=1e-4)


def test_ports_near_speak_for_one_that_nobody_was_seen_on():
    flows = make_flows(48, repositories=12)
    packets = np.where(flows.packets == 443, 4433, flows.packets)
    alone = (flows.repo == "someone/captures-3")[:, None, None] & (packets == 4433)
    flows = data.Flows(**{**flows.__dict__, "packets": np.where(alone, 4443, packets)})
    labels = data.vocabulary(flows)
    voters = CalledPorts(flows)
    prior = Prior(flows, labels, voters, near=True)
    table = {port: (prior.log_evidence[row], prior.summary[row]) for port in (4433, 4443, 4438, 4460, 4500)
             for row in [int(prior.row[port])]}
    assert table[4433][1][3] == 0 and table[4438][1][3] == table[4460][1][3] == 1
    assert [table[port][0].argmax() for port in (4438, 4460)] == [labels.index("TLS")] * 2
    assert table[4433][0].max() > table[4438][0].max() > table[4460][0].max() > 0
    assert not table[4500][1].any()
    assert not prior.row[65536 + 4438]  # TCP's ports are not UDP's
    # Its own repository aside, 4443 has what is near; 4433 what other repositories have there.
    evidence, summary = prior.without_own(flows)
    at = {port: int(np.flatnonzero((flows.packets[:, 0, DST_PORT] == port) & (flows.service == "TLS"))[0]) for port in (4433, 4443)}
    assert summary[at[4433], 3] == 0 and summary[at[4443], 3] == 1
    assert evidence[at[4443]].argmax() == labels.index("TLS") and summary[at[4443], 0] < table[4438][1][0] + 0.1
    without = Prior(flows, labels, voters)
    assert not without.row[4438] and not without.without_own(flows)[1][at[4443]].any()

    network = residual.ResidualPrior(len(labels), len(prior.summary) - 1)
    network.ports.fit(prior)
    known = flows.packets[at[4433] :][:1].copy()
    known[known[:, :, DIRECTION] == 0, SRC_PORT] = known[known[:, :, DIRECTION] == 1, DST_PORT] = 61001  # nobody's
    asked, known = torch.as_tensor(np.where(known == 4433, 4438, known)), torch.as_tensor(known)
    with torch.no_grad():
        said = network.eval().say(asked)
        near, of_known = (network.ports.near(each)[1] for each in (asked, known))
    assert (said.cell // len(residual.TEMPERATURE_PACKETS) == residual.PORT_STATES.index("near")).all()
    assert (said.evidence == 0).all() and near[0, 3] == 1 and not of_known.any()


def test_the_graph_and_the_tables_agree_on_which_end_serves():
    flows = make_flows(480)
    flows.packets[::3, :2, PAYLOAD] = 0  # a handshake, of TCP
    flows.packets[::4, 1:, DIRECTION] = 1 - flows.packets[::4, 1:, DIRECTION]
    flows.packets[::5] = np.where(flows.packets[::5] == 443, 4433, flows.packets[::5])
    swapped = flows.packets[1::2]
    swapped[:, :, [SRC_PORT, DST_PORT]] = swapped[:, :, [DST_PORT, SRC_PORT]]
    flows.packets[1::2] = swapped
    prior = Prior(flows, data.vocabulary(flows), CalledPorts(flows))
    network = residual.ResidualPrior(len(data.vocabulary(flows)), len(prior.summary) - 1)
    network.ports.fit(prior)
    serves = prior.voters.server_is_dst(flows)
    assert 0 < serves.sum() < len(serves)
    assert network.ports(torch.as_tensor(flows.packets))[2].numpy().tolist() == serves.tolist()


def test_every_prefix_has_an_answer_and_a_temperature(trained):
    network, flows, labels, _ = trained
    whole = flows.packets[flows.length == 20][:6]
    for count in (1, 2, 3, 5, 10, 20):
        packets = whole.copy()
        packets[:, count:] = 0
        with torch.no_grad():
            said = network.say(torch.as_tensor(packets))
        wanted = sum(count > bound for bound in residual.TEMPERATURE_PACKETS[:-1])
        assert (said.cell % len(residual.TEMPERATURE_PACKETS) == wanted).all()
        assert np.isfinite(probabilities(network, packets)).all()


def test_calibration_undoes_overconfidence(trained):
    network, flows, labels, catalogue = trained
    strangers = make_flows(120, seed=5)
    wrong = np.random.default_rng(1).random(len(strangers)) < 0.3
    strangers.service[wrong], strangers.protocol[wrong] = "DNS", "DNS"
    said = calibrate.say(network, strangers.packets)
    part = calibrate.HeldOut.of(said, strangers, labels, catalogue)
    trust, temperature = calibrate.fit([part])
    with torch.no_grad():
        before, after = (part.loss(*with_)[0] for with_ in ((torch.zeros(2), torch.ones(residual.CELLS)),
                                                            (trust, temperature)))
    assert after < before and (temperature > 0).all()


@pytest.mark.parametrize("shape", residual.SHAPES)
def test_onnx_runtime_and_pytorch_agree(trained, shape):
    _, flows, labels, _ = trained
    torch.manual_seed(1)
    network = residual.ResidualPrior(len(labels), 10, residual.SHAPES[shape])
    network.train()(torch.as_tensor(flows.packets[:64]))  # so that batch normalisation has statistics of its own
    onnx = export.onnx_bytes(network.eval(), 1.7)
    assert export.difference(onnx, network, 1.7, flows.packets) <= export.TOLERANCE


def test_the_same_seed_gives_the_same_network(trained):
    network, flows, labels, catalogue = trained
    again = learn.learn(flows, labels, catalogue, recipe=QUICK, seed=1, say=lambda text: None)
    for name, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_networks_together_say_the_mean(trained):
    network, flows, labels, catalogue = trained
    other = learn.learn(flows, labels, catalogue, recipe=QUICK, seed=2, say=lambda text: None)
    packets = flows.packets[:64]
    one, two = (calibrate.say(each, packets) for each in (network, other))
    whole = residual.together([copy.deepcopy(network), copy.deepcopy(other)])
    said = calibrate.say(whole, packets)
    torch.testing.assert_close(said.logits, (one.logits + two.logits) / 2)
    torch.testing.assert_close(said.behaviour, (one.behaviour + two.behaviour) / 2)
    assert not torch.allclose(one.logits, two.logits, atol=1e-2) and torch.equal(said.evidence, one.evidence)
    # Calibrated as one.
    whole.temperature.fill_(2.0)
    with torch.no_grad():
        torch.testing.assert_close(whole(torch.as_tensor(packets)), said.logits / 2)
    assert export.difference(export.onnx_bytes(whole, 1.0), whole, 1.0, packets) <= export.TOLERANCE


def test_a_pupil_is_drawn_to_the_mean_of_its_teachers(trained):
    network, flows, labels, catalogue = trained
    logits = torch.log(torch.tensor([[0.6, 0.3, 0.1]]))
    one, other = (residual.Said(part, part, *[None] * 3) for part in (logits, logits.flip(1)))
    mean = residual.Said(*[torch.log((one.logits.exp() + other.logits.exp()) / 2)] * 2, *[None] * 3)
    assert learn.taught(mean, [one, other]) < learn.taught(one, [one, other])
    torch.testing.assert_close(learn.taught(one, [one, other]), learn.taught(other, [one, other]))

    # Nothing but its teacher: no labels' loss, so what it knows is what it was told.
    alone = replace(QUICK, taught=1.0, service_share=0.0, protocol_share=0.0, class_share=0.0)
    pupil = learn.learn(flows, labels, catalogue, recipe=alone, seed=2, teachers=[network], say=lambda text: None)
    strangers = make_flows(80, seed=9).packets
    same = probabilities(pupil, strangers).argmax(1) == probabilities(network, strangers).argmax(1)
    assert same.mean() > 0.9


def test_cut_segments_keep_the_bytes_of_what_still_fits():
    packets = torch.as_tensor(make_flows(64).packets[:, :8]).clone()
    packets = torch.cat([packets, torch.zeros(64, 12, 6)], 1)
    cut = augment.cut_segments(packets, torch.ones(64, dtype=torch.bool), torch.Generator().manual_seed(0))
    assert torch.allclose(cut[:, :, PAYLOAD].sum(1), packets[:, :, PAYLOAD].sum(1))
    assert cut[:, :, PAYLOAD].max() < augment.SEGMENTS[1] < packets[:, :, PAYLOAD].max()
    untouched = augment.cut_segments(packets, torch.zeros(64, dtype=torch.bool), torch.Generator().manual_seed(0))
    assert torch.equal(untouched, packets)


def test_a_bundle_of_it_keeps_the_contract(tmp_path, services, monkeypatch):
    import tomllib

    import onnxruntime

    quick = {"epochs": 1, "draws": 640, "batch": 64, "average": 0.9, "generated": 0.2, "members": 2, "near": True}
    for name in (folds.DEFAULT, folds.SHIPPED):
        monkeypatch.setitem(folds.VARIANTS, name, quick)
    corpus = runs.Corpus.of(make_flows(480, seed=4, repositories=60), services)
    workshop = folds.Workshop(services, tmp_path / "work", lambda text: None, make_flows(40, seed=5))
    bundle.make_residual("residual-prior", tmp_path / "residual-prior", corpus, workshop)
    manifest = tomllib.loads((tmp_path / "residual-prior" / "model.toml").read_text())
    assert manifest["model"]["architecture"] == "residual-prior"
    assert manifest["evaluation"]["all"]["protocol"]["flows"] == 480
    assert manifest["evaluation"]["folds"]["no-ports"]["protocol"]["accuracy"] <= 1
    assert manifest["training"]["generated_flows"] == 40
    assert manifest["model"]["layers"].startswith("the mean of 2 x [")
    card = (tmp_path / "residual-prior" / "card.md").read_text()
    assert "By protocol" in card and manifest["training"]["generated_sha256"] in card
    session = onnxruntime.InferenceSession((tmp_path / "residual-prior" / "model.onnx").read_bytes(),
                                           providers=["CPUExecutionProvider"])
    for batch in (corpus.flows.packets[:1], corpus.flows.packets[:33]):
        (said,) = session.run([export.OUTPUT], {export.INPUT: batch})
        np.testing.assert_allclose(said.sum(1), 1, atol=1e-4)


def test_rare_services_need_two_repositories(services):
    flows = make_flows(80, repositories=20)
    rare = flows[np.flatnonzero(flows.service == "TLS.Google")]
    assert "TLS.Google" in folds.vocabulary(flows, services, learn.Recipe())
    few = np.r_[np.flatnonzero(flows.service != "TLS.Google"), np.flatnonzero(flows.service == "TLS.Google")[:4]]
    assert len(rare) >= 10 and "TLS.Google" in folds.vocabulary(flows[few], services, learn.Recipe(confirmed=3))
    assert "TLS.Google" not in folds.vocabulary(flows[few], services, learn.Recipe(confirmed=10))
    alone = flows[few]
    alone.repo[alone.service == "TLS.Google"] = "one/alone"
    assert "TLS.Google" not in folds.vocabulary(alone, services, learn.Recipe(confirmed=3))
    # Generated traffic is another source, for recipes that draw of it.
    assert "TLS.Google" not in folds.vocabulary(alone, services, learn.Recipe(confirmed=3), flows)
    assert "TLS.Google" in folds.vocabulary(alone, services, learn.Recipe(confirmed=3, generated=0.2), flows)


def test_of_generated_flows_those_are_left_out_that_have_no_name():
    from conftest import KINDS
    from ntc_models.catalogue import UNKNOWN, Service, unnamed

    catalogue = {name: Service(index + 1, name, name.split(".")[0], "web") for index, name in enumerate(KINDS)}
    catalogue[unnamed("web")] = Service(99, unnamed("web"), UNKNOWN, "web")
    labels = ["DNS", "TLS", unnamed("web")]
    flows, targets = learn.named(make_flows(), labels, catalogue)
    # HTTP would be taken for what has no name; a service of a known protocol has the protocol alone.
    assert set(flows.service) == {"DNS", "TLS", "TLS.Google"}
    assert (targets[:, 1] >= 0).all() and ((targets[:, 0] < 0).numpy() == (flows.service == "TLS.Google")).all()
