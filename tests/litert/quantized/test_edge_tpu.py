from __future__ import annotations

from tests.litert.quantized.quantised import needs_quantizer
from tests.litert.quantized.test_quantize import SIDE, small_network
from tlcli.core.export.tflite import smooth_images
from tlcli.litert.quantized.edge_tpu import check_edge_tpu
from tlcli.litert.quantized.quantize import quantize


@needs_quantizer
def test_all_but_the_conversions_of_a_whole_network_run_on_an_edge_tpu() -> None:
    content, images = small_network(), smooth_images(4, SIDE, SIDE)
    report = check_edge_tpu(quantize(content, [images], whole=True))
    assert report.fixed_batch
    assert report.on_edge_tpu == {
        "MUL": 1, "CONV_2D": 1, "MEAN": 1, "FULLY_CONNECTED": 1, "SOFTMAX": 1
    }  # fmt: skip
    assert {each.operator for each in report.on_host} == {"QUANTIZE", "DEQUANTIZE"}
    assert str(report) == (
        "Edge TPU: 5 of 7 operators by the published list; on the host, as numbers of float32 go "
        "in or out: QUANTIZE, DEQUANTIZE; edgetpu_compiler was not run"
    )


@needs_quantizer
def test_the_final_layer_in_float32_runs_on_the_host() -> None:
    content, images = small_network(), smooth_images(4, SIDE, SIDE)
    report = check_edge_tpu(quantize(content, [images]))
    assert report.on_edge_tpu == {"MUL": 1, "CONV_2D": 1, "MEAN": 1}
    assert not report.fixed_batch
    assert "the batch size is free and must be fixed to 1" in str(report)


def test_nothing_of_a_float_network_runs_on_an_edge_tpu() -> None:
    report = check_edge_tpu(small_network())
    assert report.on_edge_tpu == {}
    assert {each.reason for each in report.on_host} == {"numbers of float32 go in or out"}
