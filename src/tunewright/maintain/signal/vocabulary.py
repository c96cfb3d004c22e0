"""Vocabulary: are the words other ones? Asked of letters and pairs of letters, so that Chinese needs no segmentation."""

from __future__ import annotations

import warnings

import numpy as np

from tunewright.maintain.permute import mean_shift
from tunewright.types import Reading, Window

MOST_CHARACTERS = 2_000
"""A longer text is judged by its beginning."""

MOST_PIECES = 1 << 14
NUM_EXAMPLES = 3


class Vocabulary:
    """Single characters and pairs, weighted by rarity; the distance of the mean texts, with a permutation test."""

    def score(self, window: Window, reference: Window, level: float, seed: int) -> Reading:
        """The distance between the mean vectors, and the texts that lie furthest on the window's side."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = [text[:MOST_CHARACTERS] for text in (*window.texts, *reference.texts)]
        # Pieces and their weights come from the pooled texts, so they do not know which text is whose.
        pieces = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), max_features=MOST_PIECES, sublinear_tf=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=RuntimeWarning)  # a text without pieces has the vector 0
            features = pieces.fit_transform(texts)
        num = len(window.texts)
        squared, p = mean_shift(features, num, level, seed)
        direction = np.asarray(features[:num].mean(axis=0) - features[num:].mean(axis=0)).ravel()
        furthest = np.argsort(-(features[:num] @ direction), kind="stable")[:NUM_EXAMPLES]
        return Reading(
            signal="vocabulary",
            value=squared**0.5,
            p=p,
            sentence="distance of the mean text, by letters and pairs of letters",
            examples=tuple(window.texts[index] for index in furthest),
        )
