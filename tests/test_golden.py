import json

import numpy as np

from tests.golden import ANSWERS, answers


def test_the_shipped_model_answers_as_it_did():
    """Half a pixel and 0.02: other processors add in another order, and JPEG is not involved."""
    expected, given = json.loads(ANSWERS.read_text()), answers()
    assert given["sha256"] == expected["sha256"], "another model: look at it, then python -m tests.golden"
    assert given["pictures"].keys() == expected["pictures"].keys()
    for name, faces in given["pictures"].items():
        before = expected["pictures"][name]
        assert len(faces["xyxy"]) == len(before["xyxy"]), name
        np.testing.assert_allclose(faces["xyxy"], before["xyxy"], atol=0.5, err_msg=name)
        np.testing.assert_allclose(faces["label_scores"], before["label_scores"], atol=0.02, err_msg=name)
