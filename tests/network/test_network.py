import pytest
import torch
from helpers import randomize, tiny_network

from diff3m.ehr import paper_schema
from diff3m.network import Diff3M, NetworkConfig, count_parameters, preset
from diff3m.network.blocks import sinusoid
from diff3m.network.masking import checkerboard, masks

SCHEMA = paper_schema()


def network(**changes) -> Diff3M:
    torch.manual_seed(0)
    result = Diff3M(tiny_network(SCHEMA, **changes)).eval()
    randomize(result, scale=0.1)
    return result


def inputs(batch: int = 2, size: int = 32):
    g = torch.Generator().manual_seed(1)
    x0, x_t = torch.rand(batch, 1, size, size, generator=g), torch.randn(batch, 1, size, size, generator=g)
    values = torch.randn(batch, 10, generator=g)
    return x_t, torch.tensor([30, 700])[:batch], x0, values


def test_masks_are_complementary_and_fade_with_time():
    pattern = checkerboard(8)
    assert pattern[0, 0, 0].tolist() == [0, 1, 0, 1, 0, 1, 0, 1] and pattern[0, 0, 1, 0] == 1
    m1, m2 = masks(torch.tensor([0, 400]), pattern)
    assert torch.equal(m1[0] + m2[0], torch.ones(1, 8, 8))
    assert m1[1].unique().tolist() == pytest.approx([0.4, 1.0])
    assert torch.allclose(m1 + m2, torch.tensor([1.0, 1.4]).view(2, 1, 1, 1).expand_as(m1))


def test_sinusoid_has_cosines_first():
    e = sinusoid(torch.tensor([0, 5]), 8)
    assert e[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert e[1, 0] == pytest.approx(torch.cos(torch.tensor(5.0)).item()) and e[1, 4] == pytest.approx(
        torch.sin(torch.tensor(5.0)).item()
    )


@pytest.mark.parametrize("fusion", ["paper", "multihead"])
@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("fold", [1, 2])
def test_shapes_and_attention_sums(fusion, is_shared, fold):
    net = network(fusion=fusion, shared_masked_encoder=is_shared, space_to_depth=fold)
    x_t, t, x0, values = inputs()
    prediction, attention = net(x_t, t, x0, values)
    assert prediction.noise.shape == prediction.masked_pixels.shape == (2, 1, 32, 32)
    for weights in attention.values():
        assert weights.shape == (2, 5) and torch.allclose(weights.sum(1), torch.ones(2), atol=1e-5)


def test_conditioning_once_equals_conditioning_at_every_pass():
    net = network()
    x_t, t, x0, values = inputs()
    condition = net.condition(x0, values)
    assert torch.equal(net.predict_noise(x_t, t, condition), net(x_t, t, x0, values)[0].noise)


def test_attention_depends_on_film_and_record_but_not_on_time():
    net = network()
    x_t, t, x0, values = inputs()
    first = net(x_t, t, x0, values)[1]["ehr"]
    assert torch.equal(first, net(x_t * 2, t + 100, x0, values)[1]["ehr"])
    assert not torch.allclose(first, net(x_t, t, x0 * 0.5, values)[1]["ehr"])
    assert not torch.allclose(first, net(x_t, t, x0, values + 1)[1]["ehr"])


def test_the_record_reaches_the_noise_and_missing_is_not_zero():
    net = network()
    x_t, t, x0, values = inputs()
    missing = values.clone()
    missing[:, 5] = float("nan")
    zero = values.clone()
    zero[:, 5] = 0
    unknown = net(x_t, t, x0, missing)[0].noise
    assert torch.isfinite(unknown).all()
    assert not torch.allclose(unknown, net(x_t, t, x0, values)[0].noise)
    assert not torch.allclose(unknown, net(x_t, t, x0, zero)[0].noise)


def test_without_unknown_tokens_a_missing_value_is_refused():
    net = network(unknown_tokens=False)
    x_t, t, x0, values = inputs()
    values[0, 0] = float("nan")
    with pytest.raises(ValueError, match="missing value"):
        net(x_t, t, x0, values)


def test_paper_encoders_never_see_the_record():
    net = network(fusion="paper", condition_encoders=False)
    _x_t, t, x0, values = inputs()
    first, second = (net.condition(x0, v) for v in (values, values + 1))
    e = net.embed_time(t)
    assert torch.equal(net.encoder_embedding(e, first), net.encoder_embedding(e, second))
    assert not torch.equal(net.decoder_embedding(e, first, []), net.decoder_embedding(e, second, []))


def test_a_query_from_features_never_sees_the_clean_film():
    net = network(fusion="multihead", query="features", condition_encoders=True)
    x_t, t, x0, values = inputs()
    first, second = (net.condition(film, values) for film in (x0, 1 - x0))
    assert torch.equal(net.predict_noise(x_t, t, first), net.predict_noise(x_t, t, second))
    attention = net.attention(x0, first)
    assert all(torch.allclose(weights.sum(1), torch.ones(len(x0))) for weights in attention.values())
    assert not torch.equal(attention["ehr"], net.attention(1 - x0, second)["ehr"])
    twice = net.predict_noise(x_t.repeat(2, 1, 1, 1), t.repeat(2), first.repeat(2))
    torch.testing.assert_close(twice[len(x_t) :], twice[: len(x_t)])
    paper = network(fusion="multihead", query="film", condition_encoders=True)
    first, second = (paper.condition(film, values) for film in (x0, 1 - x0))
    assert not torch.equal(first.embedding, second.embedding)


def test_at_time_zero_a_masked_pixel_is_drawn_from_its_neighbors_alone():
    net = network()
    _, _, x0, values = inputs(1)
    t, condition = torch.zeros(1, dtype=torch.long), net.condition(x0, values)
    brighter = x0.clone()
    brighter[0, 0, 10, 11] += 1
    difference = net.predict_masked_pixels(brighter, t, condition) - net.predict_masked_pixels(x0, t, condition)
    assert difference[0, 0, 10, 11] == 0
    assert difference.abs().max() > 0


def test_batch_members_do_not_touch_each_other():
    net = network()
    x_t, t, x0, values = inputs()
    together = net(x_t, t, x0, values)[0].noise[:1]
    assert torch.allclose(together, net(x_t[:1], t[:1], x0[:1], values[:1])[0].noise, atol=1e-5)


def test_velocity_form_gives_the_noise():
    net = network(parameterization="velocity")
    with torch.no_grad():
        for parameter in net.noise_decoder.head.parameters():
            parameter.zero_()
    x_t, t, x0, values = inputs()
    assert torch.allclose(net(x_t, t, x0, values)[0].noise, net.sigma[t].view(-1, 1, 1, 1) * x_t)


def test_presets():
    compact = Diff3M(preset("compact"))
    assert 10e6 < count_parameters(compact) < 25e6
    with torch.device("meta"):
        paper = Diff3M(preset("paper", unknown_tokens=False, noise_head_channels=2))
    assert count_parameters(paper) == pytest.approx(289.8e6, rel=2e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": 30},
        {"channels": 33},
        {"fusion": "sum"},
        {"fusion_heads": 7},
        {"slots": ()},
        {"parameterization": "x0"},
    ],
)
def test_impossible_networks_are_refused(changes):
    with pytest.raises(ValueError):
        tiny_network(SCHEMA, **changes)


def test_configuration_survives_json():
    import json

    config = preset("compact", slots=SCHEMA.slots)
    assert NetworkConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ValueError, match="unknown network setting"):
        NetworkConfig.from_dict({"chanels": 3})
