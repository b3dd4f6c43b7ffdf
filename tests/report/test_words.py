"""What is said of vectors where it is otherwise said of images."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from stf.plot.overview import WORDS
from stf.report.verdict import Circumstances, verdict
from stf.report.words import draw_of_vectors, of_vectors


@pytest.mark.parametrize(
    "of_images, expected",
    [
        ("An image is encoded; an image, images.", "A vector is encoded; a vector, vectors."),
        ("Real images run, and a real image moves.", "Held-out vectors run, and a held-out vector moves."),
        ("over channels and pixels of images in [0, 1]", "over features, in standard deviations"),
        ("let what moves be larger in the picture", "let what moves be larger in the features"),
        ("Move images yourself", "Move vectors yourself"),
        ("imagery of frames", "imagery of frames"),
    ],
)
def test_words(of_images: str, expected: str) -> None:
    assert of_vectors(of_images) == expected == of_vectors(expected)


def test_names_stay_as_they_are() -> None:
    figure = Figure()
    for text in ("image", "image x", "Other images of image x", ""):
        figure.text(0, 0, text)
    drawn = [text.get_text() for text in draw_of_vectors(figure, ["image x", "image", ""]).texts]
    assert drawn == ["image", "image x", "Other vectors of image x", ""]


def test_no_title_of_the_overview_is_of_images_alone() -> None:
    assert not any("image" in title for title, _ in WORDS.values())


def test_a_verdict_on_vectors_says_nothing_of_pictures() -> None:
    kinds = (("flow", 9.0), ("reconstruction", 9.0), ("copy", 9.0), ("raw_copy", 8.0))
    errors = {kind: {"mean_per_frame": {"mean": mean, "standard_error": 0.1}} for kind, mean in kinds}
    field = {"field": 0, "on": 0.4, "silent": False, "growth": {"mean": 2.0, "standard_error": 0.1}}
    data = {"name": "vectors", "transformations": [], "features": ["x"]}
    model = {"mode": "unsupervised", "num_fields": 2, "trained_on": "mixed"}
    measured = {"model": model, "sequences": 50, "data": data, "fields": [field]}
    measured["prediction"] = {"activity": "inferred", **errors}
    run = Circumstances("runs/picture", 500, 500, seed=0, searched=True)
    said = " ".join(sentence for part in verdict(measured, run).parts.values() for sentence in part)
    assert "image" not in said and "picture" not in said and "larger in the features" in said
    del data["features"]
    of_images = " ".join(sentence for part in verdict(measured, run).parts.values() for sentence in part)
    assert "larger in the picture" in of_images and "the pictures of each field alone" in of_images
