"""The cross-media click model: the picture of the ad against the pictures of what the user met before.

DICM of Ge et al., "Image Matters: Visually Modeling User Behaviors Using Advanced Model Server" (CIKM 2018): pictures of
ads and of behaviour go through one encoder that learns with the rest; behaviour pictures are pooled by an attention whose
query is the ad's picture, beside the ids of a DIN. A training batch encodes each picture that occurs in it once, or, of
many, a draw of them: the others are as they were encoded last. For serving all pictures are encoded once, and the model is
saved with their embeddings instead of the encoder.
"""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tribid.models.batch import Examples, IdField, Schema
from tribid.models.creatives.encoder import PictureEncoder, checked_pictures, embed_pictures, prepared
from tribid.models.ctr.din import LocalActivation, interests
from tribid.models.ctr.estimator import CtrModel, CtrNetwork, checked_sizes, checked_width
from tribid.models.ctr.tower import Tower, ad_side, sides, user_side
from tribid.models.layers import Embeddings, Tensors
from tribid.models.trainer import FitSettings, Progress
from tribid.models.weights import network_with, weights_of


class Gallery(NamedTuple):
    """P ``pictures`` uint8 [P, H, W, 3], and which row shows what, -1 where there is none.

    ``of_item`` [V] by the id of an item in a history, ``of_creative`` [W, K] by the ids of an ad and of its creative; ids
    are those of the schema's vocabularies, with 0 and 1 for padding and what is unknown.
    """

    pictures: NDArray[np.uint8]
    of_item: NDArray[np.int32]
    of_creative: NDArray[np.int32]


class PictureFields(NamedTuple):
    """The schema's fields that pictures hang on: an ad's item, its creative, and the item of an event."""

    ad: str = "advertiser"
    creative: str = "creative"
    item: str = "item"


class CrossMediaNetwork(CtrNetwork):
    """A DIN whose candidates also have their picture and the interest in pictures like it."""

    pictures: Tensor
    of_item: Tensor
    of_creative: Tensor

    def __init__(
        self, schema: Schema, sizes: "CrossMediaCtr", shapes: tuple[int, int, tuple[int, ...], tuple[int, ...]]
    ) -> None:
        super().__init__(schema)
        count, look, items, creatives = shapes
        self.places = _places(schema, sizes.fields)
        self.most_encoded = sizes.most_encoded
        self.ad_picture, self.behaviour_pictures = sizes.ad_picture, sizes.behaviour_pictures
        self.embeddings = Embeddings(schema, sizes.width, sizes.training.seed)
        ids = len(schema.history) * sizes.width
        user, ad = sides(schema, sizes.width)
        self.attention = LocalActivation(ids, sizes.attention)
        self.looks = LocalActivation(look, sizes.attention)
        seen = look * (int(self.ad_picture) + 2 * int(self.behaviour_pictures))
        self.tower = Tower(user, ad + ids + seen, sizes.hidden, "dice")
        self.register_buffer("pictures", torch.zeros(count + 1, look))
        self.register_buffer("of_item", torch.zeros(items, dtype=torch.int32))
        self.register_buffer("of_creative", torch.zeros(creatives, dtype=torch.int32))
        self.encoder: nn.Module | None = None
        self._images: NDArray[np.uint8] | None = None
        self._learns = self._stale = False

    def show(self, gallery: Gallery, encoder: nn.Module, learns: bool) -> None:
        """Learn from these pictures by this encoder, which stays as it is where it does not learn."""
        count = len(gallery.pictures)
        for name, rows in (("of_item", gallery.of_item), ("of_creative", gallery.of_creative)):
            getattr(self, name).copy_(torch.from_numpy(np.where(rows < 0, count, rows).astype(np.int32)))
        self.encoder, self._images = encoder.requires_grad_(learns), gallery.pictures
        self._learns, self._stale = learns, True

    def train(self, mode: bool = True) -> Self:
        """As of any module; what the encoder has learnt meanwhile is seen by the next prediction."""
        self._stale = self._stale or self._learns
        return super().train(mode)

    def refresh(self) -> None:
        """Encode all pictures again, where the encoder has learnt since."""
        if self._stale and self.encoder is not None and self._images is not None:
            self.pictures[:-1] = torch.from_numpy(embed_pictures(self.encoder, self._images))
            self._stale = False

    def forward(self, t: Tensors) -> Tensor:
        """The log-odds of a click, [B, N]."""
        events, mask = self.embeddings.history(t), t.history_mask()
        interest = interests(self.attention(events, self.embeddings.target(t), mask), events)
        parts = [ad_side(self.embeddings, self.numbers, t), interest]
        if self.ad_picture or self.behaviour_pictures:
            ads, before, there = self._vectors(t)
            parts += [ads] if self.ad_picture else []
            if self.behaviour_pictures:
                alike = interests(self.looks(before, ads, mask & there), before)
                parts += [alike, alike * ads]
        total: Tensor = self.tower(user_side(self.embeddings, self.numbers, t), torch.cat(parts, dim=-1)) + self.bias
        return total

    def _vectors(self, t: Tensors) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures of ads [B, N, D] and of events [B, H, D], zero where there is none, and which events have one [B, H]."""
        ad, creative, item = self.places
        ads = self.of_creative[t.ad_ids[..., ad], t.ad_ids[..., creative]].long()
        events = self.of_item[t.history_ids[..., item]].long()
        there = events < len(self.pictures) - 1
        if self.training and self._learns:
            flat, back = torch.unique(torch.cat([ads.flatten(), events.flatten()]), return_inverse=True)
            vectors = self._encoded(flat)
            return vectors[back[: ads.numel()].view(ads.shape)], vectors[back[ads.numel() :].view(events.shape)], there
        self.refresh()
        return self.pictures[ads], self.pictures[events], there

    def _encoded(self, rows: Tensor) -> Tensor:
        """The pictures of ascending ``rows`` as they are encoded now, with gradients; the last one may be none: zeros.

        Of more than ``most_encoded`` a draw has gradients, and the others are as they were encoded last.
        """
        assert self.encoder is not None and self._images is not None
        real = rows[rows < len(self._images)]
        if len(real) <= self.most_encoded:
            vectors: Tensor = self.encoder(prepared(self._images[real.numpy()]))
            nothing = torch.zeros(len(rows) - len(real), vectors.shape[1])
            return torch.cat([vectors, nothing])
        self.refresh()
        drawn = torch.randperm(len(real))[: self.most_encoded]
        vectors = self.encoder(prepared(self._images[real[drawn].numpy()]))
        known = self.pictures[rows]
        self.pictures[real[drawn]] = vectors.detach()
        return known.index_copy(0, drawn, vectors)


class CrossMediaCtr(CtrModel):
    """A DIN that sees: embeddings of ``width``, ``attention`` and ``hidden`` as there, pictures as ``picture_width``.

    ``ad_picture`` and ``behaviour_pictures`` say which pictures take part (the paper's ablation), ``learn_encoder`` whether
    the encoder learns with the rest, ``most_encoded`` from how many pictures at most in a step (memory and time of a step),
    and ``fields`` which fields of the schema pictures hang on. ``encoder`` may be any module [B, 3, H, W] -> [B, D] (then D
    instead of ``picture_width``); it is copied. What has no picture gets zeros.

    A loaded model predicts for the pictures that it was fitted on; it holds no encoder.
    """

    kind = "cross_media"
    needs_history = True
    network_: CrossMediaNetwork

    def __init__(
        self,
        *,
        width: int = 8,
        attention: Sequence[int] = (36,),
        hidden: Sequence[int] = (200, 80),
        picture_width: int = 16,
        ad_picture: bool = True,
        behaviour_pictures: bool = True,
        learn_encoder: bool = True,
        most_encoded: int = 512,
        fields: Sequence[str] = PictureFields(),
        encoder: nn.Module | None = None,
        training: FitSettings | None = None,
    ) -> None:
        super().__init__(training=training)
        self.width, self.picture_width = checked_width(width), checked_width(picture_width)
        self.attention, self.hidden = checked_sizes("attention", attention), checked_sizes("hidden", hidden)
        self.ad_picture, self.behaviour_pictures = ad_picture, behaviour_pictures
        self.learn_encoder = learn_encoder
        if most_encoded < 1:
            raise ValueError(f"most_encoded is {most_encoded}; allowed is 1 or more pictures")
        self.most_encoded = most_encoded
        if len(fields) != len(PictureFields._fields):
            raise ValueError(f"fields are {tuple(fields)}; allowed are three: {', '.join(PictureFields._fields)}")
        self.fields = PictureFields(*fields)
        self.encoder = encoder

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor but ``encoder``, as JSON."""
        return {
            "width": self.width,
            "attention": list(self.attention),
            "hidden": list(self.hidden),
            "picture_width": self.picture_width,
            "ad_picture": self.ad_picture,
            "behaviour_pictures": self.behaviour_pictures,
            "learn_encoder": self.learn_encoder,
            "most_encoded": self.most_encoded,
            "fields": list(self.fields),
            "training": self.training.model_dump(mode="json"),
        }

    def fit(
        self,
        examples: Examples,
        validation: Examples | None = None,
        *,
        gallery: Gallery | None = None,
        folder: str | Path | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """As every ``CtrModel``, with the ``gallery`` of the pictures that the examples' ids show.

        Raises ``ValueError`` also where there is no gallery, or where its rows and the vocabularies do not fit.
        """
        if gallery is None:
            raise ValueError("gallery is None; allowed is a Gallery with the pictures of items and creatives")
        _check_gallery(gallery, examples.schema, self.fields)
        self._gallery = gallery
        try:
            super().fit(examples, validation, folder=folder, progress=progress)
        finally:
            del self._gallery
        self.network_.refresh()
        return self

    def described(self) -> str:
        """As of any model, with a digest of the pictures: a training does not go on with others."""
        shown = hashlib.sha256(self._gallery.pictures.tobytes()).hexdigest()[:32]
        return f"{super().described()} {self._gallery.pictures.shape} {shown}"

    def learnt(self) -> tuple[Schema | None, dict[str, NDArray[Any]]]:
        """The schema and the weights by name, with the pictures' embeddings in place of the encoder."""
        schema, _ = super().learnt()
        weights = weights_of(self.network_)
        return schema, {name: value for name, value in weights.items() if not name.startswith("encoder.")}

    @classmethod
    def restored(
        cls, settings: dict[str, Any], schema: Schema | None, weights: Mapping[str, NDArray[Any]]
    ) -> "CrossMediaCtr":
        """The model that gave these; ``ValueError`` where they do not fit together."""
        if schema is None:
            raise ValueError(f"a {cls.kind} needs a schema; its card has none")
        model = cls(**(settings | {"training": FitSettings.model_validate(settings.get("training", {}))}))
        missing = [name for name in ("pictures", "of_item", "of_creative") if name not in weights]
        if missing or weights["pictures"].ndim != 2 or not len(weights["pictures"]):
            raise ValueError(f"tensors of pictures are missing or misshaped: {', '.join(missing) or 'pictures'}")
        count, look = weights["pictures"].shape
        _check_rows(weights["of_item"], weights["of_creative"], count, schema, model.fields)
        shapes = (count - 1, look, weights["of_item"].shape, weights["of_creative"].shape)
        model.schema_ = schema
        model.network_ = network_with(lambda: CrossMediaNetwork(schema, model, shapes), weights)
        return model

    def _network(self, schema: Schema) -> CrossMediaNetwork:
        gallery = self._gallery
        encoder = PictureEncoder(self.picture_width) if self.encoder is None else copy.deepcopy(self.encoder)
        look = embed_pictures(encoder, gallery.pictures[:1]).shape[1]
        shapes = (len(gallery.pictures), look, gallery.of_item.shape, gallery.of_creative.shape)
        network = CrossMediaNetwork(schema, self, shapes)
        network.show(gallery, encoder, self.learn_encoder)
        return network


def _places(schema: Schema, fields: PictureFields) -> tuple[int, int, int]:
    """Where the three fields stand in their parts of a batch."""

    def place(part: str, given: Sequence[IdField], name: str) -> int:
        names = [field.name for field in given]
        if name not in names:
            raise ValueError(f"the schema has no {part} field {name!r} for pictures; choose {', '.join(names)}")
        return names.index(name)

    return (
        place("ad", schema.ad, fields.ad),
        place("ad", schema.ad, fields.creative),
        place("history", schema.history, fields.item),
    )


def _check_gallery(gallery: Gallery, schema: Schema, fields: PictureFields) -> None:
    if not len(checked_pictures(gallery.pictures)):
        raise ValueError("gallery has 0 pictures; allowed is at least one")
    _check_rows(gallery.of_item, gallery.of_creative, len(gallery.pictures), schema, fields)


def _check_rows(
    of_item: NDArray[Any], of_creative: NDArray[Any], count: int, schema: Schema, fields: PictureFields
) -> None:
    """``ValueError`` where a table does not have its vocabularies' rows, or points past ``count`` pictures."""
    ad, creative, item = _places(schema, fields)
    rows = [schema.vocabularies[one.vocabulary] for one in (schema.history[item], schema.ad[ad], schema.ad[creative])]
    for name, table, shape in (("of_item", of_item, (rows[0],)), ("of_creative", of_creative, (rows[1], rows[2]))):
        if table.shape != shape or table.dtype.kind != "i":
            raise ValueError(f"{name} is {table.dtype} {list(table.shape)}; allowed are integers {list(shape)}")
        if table.size and (table.min() < -1 or table.max() >= count):
            raise ValueError(f"{name} holds {table.min()} to {table.max()}; allowed is -1 to {count - 1}")
