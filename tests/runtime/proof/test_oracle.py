"""The oracle sums dilated layers by parts of the input channels; the integers are those of the whole."""

import numpy as np
import pytest

from latentbit.runtime.bits import sign
from latentbit.runtime.proof import oracle

from ...support.graphs import GraphMaker


@pytest.mark.parametrize("pad_value", [-1, 0, 1])
@pytest.mark.parametrize(("channels", "dilations"), [(40, (3, 2)), (21, (2, 2)), (20, (1, 4)), (8, (5, 5))])
def test_parts_sum_up_to_the_whole(
    monkeypatch: pytest.MonkeyPatch, channels: int, dilations: tuple[int, int], pad_value: int
) -> None:
    maker = GraphMaker(channels)
    weight, signs = maker.signs(5, channels, 3, 3), sign(maker.floats(2, channels, 12, 13))
    pads = 2, 3, 2, 3
    bits = maker.binarize("input", channels)
    maker.conv(bits, weight, pads=pads, dilations=dilations, pad_value=pad_value, unit=True)
    layer = maker.nodes[-1].name
    data = maker.model({"input": [2, channels, 12, 13]}, [maker.nodes[-1].output[0]]).SerializeToString()
    whole = oracle.layer_oracle(data)(layer, signs)
    monkeypatch.setattr(oracle, "_FLOATS", 1)  # eight channels at once
    parts = oracle.layer_oracle(data)(layer, signs)
    assert parts.dtype == whole.dtype == np.int32
    np.testing.assert_array_equal(parts, whole)
