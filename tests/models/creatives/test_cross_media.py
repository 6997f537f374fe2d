import numpy as np
import pytest
import torch
from torch import nn

from tribid.envs.pictures import pictures
from tribid.models import store
from tribid.models.batch import Examples, Histories, IdField, Schema
from tribid.models.creatives.cross_media import CrossMediaCtr, Gallery
from tribid.models.creatives.encoder import prepared
from tribid.models.trainer import FitSettings

ITEMS, C, LONG = 40, 3, 6
SCHEMA = Schema(
    vocabularies={"item": ITEMS + 2, "creative": C + 2, "kind": 4},
    ad=(IdField(name="advertiser", vocabulary="item"), IdField(name="creative", vocabulary="creative")),
    history=(IdField(name="item", vocabulary="item"), IdField(name="kind", vocabulary="kind")),
    targets=("advertiser", ""),
    history_length=LONG,
)
TRAINING = FitSettings(epochs=3, batch_size=256, learning_rate=3e-3, seed=1, tensorboard=False)
SMALL = {"width": 4, "attention": (8,), "hidden": (16,), "picture_width": 6, "training": TRAINING}


@pytest.fixture(scope="module", autouse=True)
def known_kind():
    """The store knows this kind, whether or not its own table names it yet."""
    patch = pytest.MonkeyPatch()
    patch.setitem(store.KINDS, "cross_media", ("tribid.models.creatives.cross_media", "CrossMediaCtr"))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def gallery():
    rng = np.random.default_rng(0)
    items, creatives = np.arange(ITEMS), np.repeat(np.arange(ITEMS), C)
    style = np.concatenate([rng.normal(size=(ITEMS, 4)), rng.normal(size=(ITEMS * C, 4))])
    item = np.concatenate([items, creatives])
    images = pictures(1, item, item % 5, style, variant=np.arange(len(item)) % 7, size=16)
    of_item, of_creative = np.full(ITEMS + 2, -1, np.int32), np.full((ITEMS + 2, C + 2), -1, np.int32)
    of_item[2:] = items
    of_creative[2:, 2:] = ITEMS + np.arange(ITEMS * C).reshape(ITEMS, C)
    return Gallery(images, of_item, of_creative), style


def log(style, count, seed=0):
    """Users like an ad whose picture is as bright as those that they met before."""
    rng = np.random.default_rng(seed)
    taste = rng.normal(size=200)
    chance = np.exp(2.0 * style[:ITEMS, 0] * taste[:, None])
    met = np.array([rng.choice(ITEMS, LONG, p=row / row.sum()) for row in chance])
    length = rng.integers(0, LONG + 1, 200)
    past = np.where(np.arange(LONG) < length[:, None], met + 2, 0)
    ids = np.stack([past, np.where(past > 0, 2, 0)], axis=2).astype(np.int32)
    user, item, creative = rng.integers(0, 200, count), rng.integers(0, ITEMS, count), rng.integers(0, C, count)
    fit = 1.5 * style[ITEMS + item * C + creative, 0] * taste[user]
    return Examples(
        schema=SCHEMA,
        user_ids=np.zeros((count, 0), np.int32),
        user_numbers=np.zeros((count, 0), np.float32),
        ad_ids=np.stack([item + 2, creative + 2], axis=1).astype(np.int32),
        ad_numbers=np.zeros((count, 0), np.float32),
        history=user,
        histories=Histories(ids, np.zeros((200, LONG), np.float32), length.astype(np.int32)),
        labels={"click": (rng.random(count) < 1 / (1 + np.exp(1 - fit))).astype(np.float32)},
        group=user,
    )


@pytest.fixture(scope="module")
def examples(gallery):
    return log(gallery[1], 3_000)


@pytest.fixture(scope="module")
def fitted(gallery, examples):
    torch.set_num_threads(1)
    return CrossMediaCtr(**SMALL).fit(examples, gallery=gallery[0])


def auc(click, rate):
    order = np.argsort(rate)
    ranks = np.empty(len(rate))
    ranks[order] = np.arange(len(rate))
    won = click == 1
    return (ranks[won].mean() - (won.sum() - 1) / 2) / (~won).sum()


def test_it_learns_that_users_like_pictures_such_as_they_met_before(gallery):
    whole = log(gallery[1], 5_000)
    known, held = whole.take(slice(0, 3_500)), whole.take(slice(3_500, 5_000))
    longer = SMALL | {"training": TRAINING.model_copy(update={"epochs": 5})}
    told = {}
    for name, seen in (("pictures", True), ("ids", False)):
        model = CrossMediaCtr(**longer, ad_picture=seen, behaviour_pictures=seen).fit(known, gallery=gallery[0])
        told[name] = auc(held.labels["click"], model.predict(held.batch(slice(None)))[:, 0])
    assert told["pictures"] > told["ids"] + 0.02, told


def test_predictions_are_chances_for_each_candidate(fitted, examples):
    batch = examples.batch(np.arange(8))
    wide = batch._replace(ad_ids=np.repeat(batch.ad_ids, 3, axis=1), ad_numbers=np.repeat(batch.ad_numbers, 3, axis=1))
    wide.ad_ids[:, 1, 1] = 3
    rates = fitted.predict(wide)
    assert rates.shape == (8, 3) and ((rates > 0) & (rates < 1)).all()
    np.testing.assert_allclose(rates[:, 0], fitted.predict(batch)[:, 0], atol=1e-6)
    assert (rates[:, 0] != rates[:, 1]).any()


def test_the_same_seed_gives_the_same_weights_bit_for_bit(fitted, gallery, examples):
    again = CrossMediaCtr(**SMALL).fit(examples, gallery=gallery[0])
    for name, value in fitted.learnt()[1].items():
        np.testing.assert_array_equal(value, again.learnt()[1][name], err_msg=name)


def test_the_order_of_a_history_does_not_matter_and_an_empty_one_is_fine(fitted, examples):
    batch = examples.batch(np.flatnonzero(examples.histories.length[examples.history] == LONG)[:20])
    turned = batch._replace(history_ids=batch.history_ids[:, ::-1].copy())
    np.testing.assert_allclose(fitted.predict(turned), fitted.predict(batch), atol=1e-5)
    empty = batch._replace(history_ids=batch.history_ids * 0, history_length=batch.history_length * 0)
    assert np.isfinite(fitted.predict(empty)).all()


def test_what_has_no_picture_is_predicted_all_the_same(fitted, examples):
    batch = examples.batch(np.arange(4))
    unknown = batch._replace(ad_ids=np.ones_like(batch.ad_ids))
    assert np.isfinite(fitted.predict(unknown)).all()


def test_serving_looks_up_the_embeddings_that_training_ended_with(fitted, gallery):
    network = fitted.network_
    network.eval()
    with torch.no_grad():
        rows = torch.arange(len(gallery[0].pictures) + 1)
        np.testing.assert_allclose(network._encoded(rows).numpy(), network.pictures.numpy(), atol=1e-6)
    assert (network.pictures[-1] == 0).all()


def test_a_saved_model_predicts_the_same_without_its_encoder(fitted, examples, tmp_path):
    fitted.save(tmp_path)
    loaded = CrossMediaCtr.load(tmp_path)
    batch = examples.batch(np.arange(200))
    np.testing.assert_array_equal(loaded.predict(batch), fitted.predict(batch))
    assert loaded.network_.encoder is None
    assert not any("encoder" in name for name in loaded.learnt()[1])


def test_a_file_whose_tables_point_past_its_pictures_is_refused(fitted):
    schema, weights = fitted.learnt()
    spoilt = weights | {"of_item": weights["of_item"] + 1_000}
    with pytest.raises(ValueError, match="of_item holds"):
        CrossMediaCtr.restored(fitted.settings(), schema, spoilt)
    with pytest.raises(ValueError, match="missing"):
        CrossMediaCtr.restored(fitted.settings(), schema, {k: v for k, v in weights.items() if k != "pictures"})


class Frozen(nn.Module):
    """Someone's own encoder, trained elsewhere."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, images):
        return self.layer(images.mean(dim=(2, 3)))


def test_an_encoder_that_does_not_learn_stays_as_it_came(gallery, examples):
    own = Frozen()
    model = CrossMediaCtr(**SMALL, encoder=own, learn_encoder=False).fit(examples, gallery=gallery[0])
    assert (model.network_.encoder.layer.weight == own.layer.weight).all()
    assert model.network_.pictures.shape == (len(gallery[0].pictures) + 1, 4)
    learning = CrossMediaCtr(**SMALL, encoder=own).fit(examples, gallery=gallery[0])
    assert (learning.network_.encoder.layer.weight != own.layer.weight).any()


def test_galleries_that_do_not_fit_the_schema_are_refused(gallery, examples):
    fine = gallery[0]
    wrong = {
        "gallery is None": None,
        "of_item is": fine._replace(of_item=fine.of_item[:-1]),
        "of_creative is": fine._replace(of_creative=fine.of_creative[:, :-1]),
        "of_item holds": fine._replace(of_item=fine.of_item + 1_000),
        "uint8": fine._replace(pictures=fine.pictures.astype(np.float32)),
        "0 pictures": fine._replace(pictures=fine.pictures[:0], of_item=fine.of_item * 0 - 1),
    }
    for message, one in wrong.items():
        with pytest.raises(ValueError, match=message):
            CrossMediaCtr(**SMALL).fit(examples, gallery=one)
    with pytest.raises(ValueError, match="no ad field 'picture'"):
        CrossMediaCtr(**SMALL, fields=("advertiser", "picture", "item")).fit(examples, gallery=fine)
    with pytest.raises(ValueError, match="three"):
        CrossMediaCtr(**SMALL, fields=("advertiser",))


def test_a_step_that_encodes_a_draw_of_its_pictures_learns_from_them_all(gallery):
    """As the claim above, with less than half of the pictures learning in each step."""
    whole = log(gallery[1], 5_000)
    known, held = whole.take(slice(0, 3_500)), whole.take(slice(3_500, 5_000))
    longer = SMALL | {"training": TRAINING.model_copy(update={"epochs": 10})}
    some, none = (
        CrossMediaCtr(**longer, most_encoded=64, ad_picture=seen, behaviour_pictures=seen).fit(
            known, gallery=gallery[0]
        )
        for seen in (True, False)
    )
    told = [auc(held.labels["click"], one.predict(held.batch(slice(None)))[:, 0]) for one in (some, none)]
    assert told[0] > told[1] + 0.02, told
    network = some.network_.eval()
    with torch.no_grad():
        now = network.encoder(prepared(gallery[0].pictures)).numpy()
    np.testing.assert_allclose(now, network.pictures[:-1].numpy(), atol=1e-6)


def test_the_pictures_that_are_drawn_are_as_encoded_now_and_the_others_as_encoded_last(gallery, examples):
    model = CrossMediaCtr(**SMALL, most_encoded=5).fit(examples.take(slice(0, 300)), gallery=gallery[0])
    network = model.network_.train()
    network.refresh()
    before, rows = network.pictures.clone(), torch.arange(20)
    with torch.no_grad():
        network.encoder.head.bias += 1.0
        vectors = network._encoded(rows)
    changed = (vectors != before[rows]).any(1)
    assert changed.sum() == 5
    np.testing.assert_allclose(vectors[changed].numpy(), before[rows][changed].numpy() + 1.0, atol=1e-5)
    np.testing.assert_array_equal(network.pictures[rows].numpy(), vectors.numpy())


def test_how_many_are_encoded_must_be_some():
    with pytest.raises(ValueError, match="most_encoded is 0"):
        CrossMediaCtr(most_encoded=0)
