"""Networks that read texts: sizes, what they compute, and the same numbers alone and in company."""

import math

import pydantic
import pytest
import torch
from torch import nn

from lapwing.errors import UserError
from lapwing.models import models
from lapwing.training.layers import Dropout
from lapwing.training.sequences import EncoderLayer, Positions
from lapwing.training.stack import Stack, build_replica, choose_backend

LENGTH, WORDS = 12, 30
SMALL = {
    "lstm": {"embedding": 6, "hidden": 8},
    "transformer": {"features": 8, "heads": 2, "feed_forward": 16},
}


def built(name, outputs=5, vocabulary=WORDS, length=LENGTH, **options):
    model = models.get(name)
    return model.build(model.Options(**options), (length,), outputs, vocabulary)


def texts(*shape):
    return torch.randint(0, WORDS, (*shape, LENGTH), dtype=torch.int32)


@pytest.mark.parametrize(
    ("name", "length", "outputs", "vocabulary", "parameters"),
    [
        # Words; two layers of four gates with two biases each; classifier.
        ("lstm", 256, 2, 1000, 256_000 + 4 * 512 * (256 + 512 + 2) + 4 * 512 * (1024 + 2) + 1026),
        # Words; two layers of attention, feed-forward and two norms; classifier.
        (
            "transformer",
            128,
            28,
            1000,
            256_000 + 2 * (4 * 256 * 257 + 257 * 2048 + 2049 * 256 + 4 * 256) + 257 * 28,
        ),
    ],
)
def test_a_network_has_as_many_parameters_as_published(name, length, outputs, vocabulary, parameters):
    network = built(name, outputs, vocabulary, length)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert network(torch.zeros(3, length, dtype=torch.int32)).shape == (3, outputs)


def test_the_lstm_is_torchs_of_two_layers_read_at_the_last_position():
    network = built("lstm", dropout=0.0, **SMALL["lstm"])
    both = nn.LSTM(6, 8, num_layers=2, batch_first=True)
    for layer in range(2):
        for name, values in network.get_submodule(f"recurrent_{layer + 1}.lstm").named_parameters():
            getattr(both, name.replace("l0", f"l{layer}")).data.copy_(values)
    inputs = texts(4)
    expected = network.classifier(both(network.words.embedding(inputs))[0][:, -1])
    torch.testing.assert_close(network(inputs), expected)


def test_the_lstm_starts_as_torchs_of_two_layers_does():
    for layer in (1, 2):
        lstm = built("lstm", embedding=64, hidden=256).get_submodule(f"recurrent_{layer}.lstm")
        for values in lstm.parameters():
            assert values.abs().max() <= 1 / math.sqrt(256)
            assert float(values.detach().std()) == pytest.approx(1 / math.sqrt(3 * 256), rel=0.1)


def layers_of_equal_weights():
    """Our encoder layer and torch's, without dropout."""
    ours, theirs = EncoderLayer(8, 2, 16, 0.0), nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
    parts = {"linear1": "wide", "linear2": "narrow", "norm1": "norm_1", "norm2": "norm_2"}
    names = {
        "self_attn.in_proj_weight": "attention.into.weight",
        "self_attn.in_proj_bias": "attention.into.bias",
        "self_attn.out_proj.weight": "attention.out.weight",
        "self_attn.out_proj.bias": "attention.out.bias",
        **{f"{their}.{kind}": f"{our}.{kind}" for their, our in parts.items() for kind in ("weight", "bias")},
    }
    drawn = dict(ours.named_parameters())
    assert sorted(names.values()) == sorted(drawn)
    for their, our in names.items():
        nn.init.normal_(drawn[our])
        theirs.get_parameter(their).data.copy_(drawn[our])
    return ours, theirs


def test_an_encoder_layer_is_torchs():
    ours, theirs = layers_of_equal_weights()
    inputs = torch.randn(3, LENGTH, 8)
    torch.testing.assert_close(ours(inputs), theirs(inputs))


def test_attention_starts_as_torchs():
    ours, theirs = EncoderLayer(64, 4, 128, 0.1).attention, nn.MultiheadAttention(64, 4)
    for our, their in ((ours.into.weight, theirs.in_proj_weight), (ours.out.weight, theirs.out_proj.weight)):
        assert float(our.detach().std()) == pytest.approx(float(their.detach().std()), rel=0.05)
        assert float(our.detach().abs().max()) == pytest.approx(float(their.detach().abs().max()), rel=0.05)
    assert not ours.into.bias.any()
    assert not ours.out.bias.any()


class Times(nn.Module):
    """Stands where a dropout does; a negative factor does not commute with a ReLU."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, inputs):
        return self.factor * inputs


def test_an_encoder_layer_drops_where_torchs_does():
    """With another factor in place of each dropout both give the same."""
    ours, theirs = layers_of_equal_weights()
    ours.attention.dropout = Times(-0.7)  # torch's attention has none to replace: its values take the factor
    theirs.self_attn.in_proj_weight.data[16:] *= -0.7
    theirs.self_attn.in_proj_bias.data[16:] *= -0.7
    places = {"dropout_attention": "dropout1", "dropout_wide": "dropout", "dropout_narrow": "dropout2"}
    for number, (our, their) in enumerate(places.items()):
        setattr(ours, our, Times(-0.5 - number))
        setattr(theirs, their, Times(-0.5 - number))
    inputs = torch.randn(3, LENGTH, 8)
    torch.testing.assert_close(ours(inputs), theirs(inputs))


def test_every_dropout_of_an_encoder_layer_has_its_probability():
    layers = [each for each in EncoderLayer(8, 2, 16, 0.3).modules() if isinstance(each, Dropout)]
    assert [layer.probability for layer in layers] == [0.3] * 4


def test_positions_are_told_by_sines_and_cosines():
    pattern = Positions(50, 8)(torch.zeros(1, 50, 8))[0]
    for position in (0, 1, 17, 49):
        for pair in range(4):
            angle = position / 10_000 ** (2 * pair / 8)
            expected = [math.sin(angle), math.cos(angle)]
            torch.testing.assert_close(pattern[position, 2 * pair : 2 * pair + 2], torch.tensor(expected))


def test_what_positions_add_is_not_among_what_is_learnt():
    def build():
        return built("transformer", **SMALL["transformer"])

    assert not [name for name in build().state_dict() if "pattern" in name]
    stack, inputs = Stack(build, [3, 14], backend="vmap"), texts(2, 4)
    with stack.evaluating():
        outputs = stack(inputs)
    for row in (0, 1):
        torch.testing.assert_close(stack.replica(build, row).eval()(inputs[row]), outputs[row])


@pytest.mark.parametrize("name", SMALL)
def test_only_the_first_words_are_read(name):
    network = built(name, longest=5, **SMALL[name]).eval()
    inputs = texts(4)
    changed = inputs.clone()
    changed[:, 5:] = 0
    torch.testing.assert_close(network(inputs), network(changed))
    changed[:, 4] = (inputs[:, 4] + 1) % WORDS
    assert (network(inputs) != network(changed)).any()


@pytest.mark.parametrize("name", SMALL)
def test_what_fills_a_text_up_counts_too(name):
    network = built(name, **SMALL[name]).eval()
    inputs = texts(4).clamp_min(1)
    inputs[:, 6:] = 0
    longer = inputs.clone()
    longer[:, 8:] = 1
    assert (network(inputs) != network(longer)).any()


@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_seeds_of_the_transformer_train_together_as_alone(backend):
    def build():
        return built("transformer", **SMALL["transformer"])

    together = Stack(build, [3, 14, 15], backend=backend, dtype=torch.float64)
    inputs = texts(3, 4)
    together(inputs).square().sum().backward()
    for row, seed in enumerate([3, 14, 15]):
        alone = Stack(build, [seed], dtype=torch.float64)
        outputs = alone(inputs[row : row + 1])
        outputs.square().sum().backward()
        for name, values in alone.parameters.items():
            torch.testing.assert_close(together.parameters[name].grad[row], values.grad[0])


@pytest.mark.parametrize(("name", "backend"), [("lstm", ("loop", False)), ("transformer", ("vmap", True))])
def test_seeds_stack_where_torch_can_do_it(name, backend):
    assert choose_backend(built(name, **SMALL[name]), torch.device("cpu")) == backend


@pytest.mark.parametrize("name", SMALL)
def test_dropout_acts_in_training_alone_and_is_a_function_of_the_seed(name):
    def outputs(seed):
        stack = Stack(lambda: built(name, **SMALL[name]), [seed])
        stack.train(training)
        return stack(inputs).detach()

    inputs = texts(1, 4)
    training = True
    dropped = outputs(3)
    assert torch.equal(dropped, outputs(3))
    training = False
    assert not torch.equal(dropped, outputs(3))


@pytest.mark.parametrize("name", SMALL)
def test_networks_start_as_the_seed_itself_makes_them(name):
    torch.manual_seed(17)
    expected = built(name, **SMALL[name]).state_dict()
    found = build_replica(lambda: built(name, **SMALL[name]), 17, 0).state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected if not key.endswith(".key"))


@pytest.mark.parametrize("name", SMALL)
def test_what_is_no_text_is_refused(name):
    model = models.get(name)
    options = model.Options()
    with pytest.raises(UserError, match=r"needs words in one line, not inputs of the shape \(1, 8, 8\)"):
        model.check(options, (1, 8, 8), "classification", tokens=True)
    with pytest.raises(UserError, match="reads words, and the dataset has numbers"):
        model.check(options, (8,), "classification")


@pytest.mark.parametrize("options", [{"features": 9, "heads": 3}, {"features": 10, "heads": 4}])
def test_features_that_heads_cannot_share_are_refused(options):
    with pytest.raises(pydantic.ValidationError, match="features must be even and a multiple of the"):
        models.get("transformer").Options(**options)
