import numpy as np
import pytest
import torch

from ntc_models import architectures
from ntc_models.architectures import Normalise, Steps


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_cnn_rnn_2a_has_the_papers_shapes_and_parameters():
    network = architectures.build("cnn-rnn-2a", 108).eval()
    shapes, value = [], torch.zeros(3, 20, 6)
    for layer in network:
        value = layer(value)
        shapes.append(tuple(value.shape[1:]))
    assert shapes == [(20, 6), (1, 20, 6), (32, 17, 5), (32, 17, 5), (64, 14, 4), (64, 14, 4), (56, 64), (100,),
                      (100,), (100,), (100,), (108,)]
    convolutions = 32 * (4 * 2 * 1 + 1) + 64 * (4 * 2 * 32 + 1)
    normalisations = 2 * 32 + 2 * 64
    lstm = 4 * 100 * (64 + 100 + 2)  # PyTorch has two biases where one would do
    dense = 100 * (100 + 1) + 108 * (100 + 1)
    assert parameters(network) == convolutions + normalisations + lstm + dense == 104_336


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


def test_seven_packets_are_the_least():
    layers = list(architectures.build("cnn-rnn-2a", 5))[1:]  # the normalised image on
    convolve = torch.nn.Sequential(*layers[:5]).eval()
    assert convolve(torch.zeros(1, architectures.MINIMUM_PACKETS["cnn-rnn-2a"], 6)).shape[2] == 1
    with pytest.raises(RuntimeError):
        convolve(torch.zeros(1, architectures.MINIMUM_PACKETS["cnn-rnn-2a"] - 1, 6))


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
