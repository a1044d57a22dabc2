import numpy as np
import pytest
import torch

from ntc_models import architectures
from ntc_models.architectures import Normalise, Steps


NINE = list(architectures.TABLE_I)


def shapes(name, services=108, **options):
    """The shape after every layer, without the flow's axis."""
    found, value = [], torch.zeros(3, 20, 6)
    for layer in architectures.build(name, services, **options).eval():
        value = layer(value)
        found.append(tuple(value.shape[1:]))
    return found


# What each Conv and MaxPool leaves, by hand: (filters, time, features); then the LSTM's input (steps, width).
PICTURES = {
    "rnn-1": ([], (20, 6)),
    "cnn-1": ([(32, 17, 5), (32, 15, 4), (64, 12, 3), (64, 10, 2)], None),
    "cnn-rnn-1": ([(32, 17, 5), (32, 15, 4), (64, 12, 3), (64, 10, 2)], (20, 64)),
    "cnn-rnn-2": ([(32, 17, 5), (64, 14, 4)], (56, 64)),
    "cnn-rnn-2a": ([(32, 17, 5), (64, 14, 4)], (56, 64)),
    "cnn-rnn-3": ([(16, 17, 5), (32, 14, 4), (64, 11, 3), (128, 8, 2)], (16, 128)),
    "cnn-rnn-3a": ([(16, 17, 5), (32, 14, 4), (64, 11, 3), (128, 8, 2)], (16, 128)),
    "cnn-rnn-4": ([(32, 20, 6), (32, 20, 6), (32, 10, 3), (64, 10, 3), (64, 10, 3), (64, 5, 2), (128, 5, 2),
                   (64, 5, 2)], (10, 64)),
    "cnn-rnn-5": ([(32, 20, 6), (32, 20, 6), (32, 10, 3), (64, 10, 3), (64, 10, 3), (64, 5, 2), (128, 5, 2),
                   (64, 5, 2)], (10, 64)),
}


def lstm(inputs, units):
    return 4 * units * (inputs + units + 2)  # PyTorch has two biases where one would do


def dense(*widths):
    return sum((before + 1) * after for before, after in zip(widths, widths[1:]))


def conv(*layers):
    return sum((inputs * time * features + 1) * filters for inputs, filters, time, features in layers)


CNN_2 = conv((1, 32, 4, 2), (32, 64, 4, 2)) + 2 * (32 + 64)
CNN_3 = conv((1, 16, 4, 2), (16, 32, 4, 2), (32, 64, 4, 2), (64, 128, 4, 2)) + 2 * (16 + 32 + 64 + 128)
CNN_4 = conv((1, 32, 3, 2), (32, 32, 3, 2), (32, 64, 3, 2), (64, 64, 3, 2), (64, 128, 3, 2),
             (128, 64, 1, 1)) + 2 * (32 + 32 + 64 + 64)
PARAMETERS = {
    "rnn-1": lstm(6, 100) + dense(100, 100, 108),
    "cnn-1": CNN_2 + dense(64 * 10 * 2, 200, 108),
    "cnn-rnn-1": CNN_2 + lstm(64, 100) + dense(100, 100, 108),
    "cnn-rnn-2": CNN_2 + lstm(64, 100) + dense(100, 100, 108),
    "cnn-rnn-2a": 104_336,
    "cnn-rnn-3": CNN_3 + lstm(128, 100) + lstm(100, 200) + dense(200, 200, 108),
    "cnn-rnn-3a": CNN_3 + lstm(128, 100) + lstm(100, 200) + dense(200, 200, 108),
    "cnn-rnn-4": CNN_4 + lstm(64, 100) + lstm(100, 200) + dense(200, 200, 108),
    "cnn-rnn-5": CNN_4 + lstm(64, 100) + lstm(100, 150) + dense(150, 150, 108),
}


def test_there_are_nine():
    assert len(NINE) == 9 == len(set(architectures.TABLE_I.values()))


@pytest.mark.parametrize("name", NINE)
def test_shapes_and_parameters_are_the_papers(name):
    pictures, lstm_input = PICTURES[name]
    network = architectures.build(name, 108)
    found = [tuple(shape) for shape, layer in zip(shapes(name), network)
             if isinstance(layer, (architectures.Conv, torch.nn.MaxPool2d))]
    assert found == pictures
    before = {type(layer): shape for layer, shape in zip(list(network)[1:], shapes(name))}
    first = architectures.Sequence if architectures.Sequence in before else architectures.LastState
    assert before.get(first) == lstm_input
    assert shapes(name)[-1] == (108,)
    assert architectures.parameters(network) == PARAMETERS[name]


@pytest.mark.parametrize(("name", "dropouts"), [
    ("rnn-1", []), ("cnn-rnn-2", []), ("cnn-rnn-2a", [0.2, 0.4]), ("cnn-rnn-3", [0.1, 0.3, 0.5]),
    ("cnn-rnn-3a", [0.2, 0.4, 0.5]), ("cnn-rnn-4", [0.1, 0.3, 0.5]), ("cnn-rnn-5", [0.1, 0.3, 0.5])])
def test_dropouts_are_the_papers(name, dropouts):
    network = architectures.build(name, 108)
    assert [layer.p for layer in network if isinstance(layer, torch.nn.Dropout)] == dropouts


def test_the_first_of_two_lstms_hands_on_its_sequence():
    kinds = [type(layer) for layer in architectures.build("cnn-rnn-3", 108)]
    assert kinds.index(architectures.Sequence) < kinds.index(architectures.LastState)
    assert (16, 100) in shapes("cnn-rnn-3") and (200,) in shapes("cnn-rnn-3")


def test_every_layer_of_2a_in_order():
    assert shapes("cnn-rnn-2a") == [
        (20, 6), (1, 20, 6), (32, 17, 5), (32, 17, 5), (64, 14, 4), (64, 14, 4), (56, 64), (100,), (100,), (100,),
        (100,), (108,)]


def test_multiply_adds_by_hand():
    steps, features = 20, 6
    assert architectures.multiply_adds(architectures.build("rnn-1", 108)) == (
        steps * 400 * (features + 100) + 100 * 100 + 100 * 108)


def test_same_padding_is_one_wider_behind():
    conv = architectures.Conv(1, 1, 3, 2, same=True)
    torch.nn.init.constant_(conv[1].weight, 1.0)
    torch.nn.init.zeros_(conv[1].bias)
    image = torch.zeros(1, 1, 4, 3)
    image[0, 0, 0, 0] = 1.0
    # A window of 3 by 2 reaches one packet back and one on, no feature back and one on.
    assert conv(image)[0, 0].tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_steps_keep_the_filters_together_and_go_through_time_first():
    filters, time, features = 64, 14, 4
    image = torch.zeros(1, filters, time, features)
    for t in range(time):
        for f in range(features):
            image[0, :, t, f] = torch.arange(filters) + 1000 * (t * features + f)
    steps = Steps()(image)
    assert steps.shape == (1, 56, 64)
    for step in range(56):
        assert torch.equal(steps[0, step], torch.arange(64) + 1000.0 * step)
    # The common mistake has the same shape and other contents.
    assert not torch.equal(steps, image.reshape(1, 56, 64))


def test_the_wrong_reshape_differs_in_that_alone():
    right, wrong = (architectures.build(name, 5) for name in ("cnn-rnn-2a", "cnn-rnn-2a-wrong-reshape"))
    kinds = [(type(one), type(other)) for one, other in zip(right, wrong)]
    assert [pair for pair in kinds if pair[0] is not pair[1]] == [(Steps, architectures.WrongSteps)]
    image = torch.arange(2 * 64 * 14 * 4.0).reshape(2, 64, 14, 4)
    assert torch.equal(architectures.WrongSteps()(image), image.reshape(2, 56, 64))
    assert not torch.equal(Steps()(image), image.reshape(2, 56, 64))


@pytest.mark.parametrize(("name", "packets"), [
    ("rnn-1", 1), ("cnn-1", 11), ("cnn-rnn-1", 11), ("cnn-rnn-2", 7), ("cnn-rnn-2a", 7), ("cnn-rnn-3", 13),
    ("cnn-rnn-3a", 13), ("cnn-rnn-4", 1), ("cnn-rnn-5", 1), ("mlp", 1)])
def test_the_fewest_packets(name, packets):
    assert architectures.minimum_packets(name) == packets
    network = architectures.build(name, 5, length=packets).eval()
    assert network(torch.zeros(2, 20, 6)).shape == (2, 5)
    if packets > 1:
        with pytest.raises(ValueError, match="no place"):
            architectures.build(name, 5, length=packets - 1)


@pytest.mark.parametrize(("columns", "steps"), [((0, 1, 2, 3, 5), 42), ((2, 3, 4, 5), 28), ((2, 3, 5), 14)])
def test_fewer_features_give_2a_a_narrower_picture(columns, steps):
    assert (steps, 64) in shapes("cnn-rnn-2a", columns=columns)


def test_what_is_left_out_is_not_seen(flows):
    network = architectures.build("cnn-rnn-2a", 5, length=10, columns=(2, 3, 5)).eval()
    packets = torch.as_tensor(flows.packets)
    changed = packets.clone()
    changed[:, :, [0, 1]] = changed[:, :, [0, 1]].clamp(max=1)  # ports, but still no padding
    changed[:, :, 4] += 5
    changed[:, 10:] = 0
    assert torch.equal(network(packets), network(changed))
    changed[:, 0, 2] += 700
    assert not torch.equal(network(packets), network(changed))


def test_normalised_features_are_of_order_one_and_padding_stays_zero(flows):
    normalise = Normalise().fit(flows.packets, np.linspace(0, 1, 65536))
    out = normalise(torch.as_tensor(flows.packets)).numpy()
    real = np.arange(20) < flows.length[:, None]
    assert not out[~real].any()
    np.testing.assert_allclose(out[real][:, 2:5].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(out[real][:, 2:5].std(0), 1, atol=1e-3)
    assert set(np.unique(out[real][:, 5])) == {-1.0, 1.0}
    half = architectures.PORT_SPAN / 2
    np.testing.assert_allclose(out[0, 0, 1], (53 / 65535 - 0.5) * 2 * half, rtol=1e-4)


def test_what_is_out_of_range_does_no_harm():
    normalise = Normalise()
    strange = torch.tensor([[70000.0, 1, -5, -1, -1e9, 1]]).expand(1, 20, 6)
    assert torch.isfinite(normalise(strange)).all()


def test_probabilities_add_up_and_temperature_flattens():
    network = architectures.build("cnn-rnn-2a", 7)
    packets = torch.rand(4, 20, 6) * 1000
    sharp = architectures.Classifier(network, 1.0).eval()(packets)
    flat = architectures.Classifier(network, 10.0).eval()(packets)
    torch.testing.assert_close(sharp.sum(1), torch.ones(4))
    assert (flat.max(1).values < sharp.max(1).values).all()
