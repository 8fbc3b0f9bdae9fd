import io

import numpy as np
from PIL import Image

from osum.eval.plots.histograms import histograms


def test_a_picture_of_two_histograms():
    found = {"a": (np.array([1, 3]), np.array([0.0, 1.0, 2.0])), "b": (np.array([0]), np.array([0.0, 1.0]))}
    picture = Image.open(io.BytesIO(histograms("train", found)))
    assert picture.format == "PNG"
    blue = (np.asarray(picture.convert("RGB")) == (0x2F, 0x6F, 0xB3)).all(axis=-1)
    # all bars are in the left half, and three times as much of the second as of the first
    left, right = np.split(blue.sum(axis=0), [blue.shape[1] // 2])
    assert right.sum() == 0 and left.max() > 2.5 * left[left > 10].min()
