"""A deployed file that is farther off than usual is judged by the float64 answer."""

import numpy as np
import pytest

from onnx2mvit.verifier import Answers, judge_file

RIGHT = np.linspace(-1, 1, 1000).reshape(10, 100)
MASK = np.arange(1000).reshape(10, 100) % 7


def off(by: float) -> dict[str, np.ndarray]:
    """An answer of which one number is off by so much."""
    answer = RIGHT.astype(np.float32)
    answer[3, 3] += by
    return {"y": answer}


def judged(file: float, onnxruntime: float, keras: float, keras64: float = 0.0) -> str:
    exact = {"y": RIGHT + keras64}
    answers = Answers(off(file), off(onnxruntime), off(keras), exact, {"y": RIGHT})
    return judge_file(answers).verdict


@pytest.mark.parametrize(
    ("file", "onnxruntime", "keras", "verdict"),
    [
        (1.7e-5, 8e-6, 1e-6, "right"),
        (1.7e-5, 1e-6, 8e-6, "right"),
        (1.7e-5, 1e-6, 1e-6, "wrong"),
        (1e-4, 8e-6, 8e-6, "wrong"),  # a block's scale
        (9e-6, 0.0, 0.0, "right"),
    ],
)
def test_it_may_be_off_by_as_much_as_the_others_are(
    file: float, onnxruntime: float, keras: float, verdict: str
) -> None:
    assert judged(file, onnxruntime, keras) == verdict


def test_keras_is_no_measure_where_the_model_is_wrong() -> None:
    assert judged(1e-3, 1e-6, 1e-3) == "right"
    assert judged(1e-3, 1e-6, 1e-3, keras64=1e-3) == "wrong"


@pytest.mark.parametrize(("places", "verdict"), [(1, "right"), (2, "wrong")])
def test_one_place_of_a_mask_may_differ(places: int, verdict: str) -> None:
    mask = MASK.copy()
    mask.flat[:places] += 1
    same = {"mask": MASK}
    assert judge_file(Answers({"mask": mask}, same, same, same, same)).verdict == verdict
