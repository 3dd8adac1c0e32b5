"""Where a handle or an address of a module leads today."""

from __future__ import annotations

import pytest

from tlcli.backbones.download import hub_addresses
from tlcli.errors import BackboneError


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/5",
            "google/mobilenet-v2/tensorFlow2/100-224-feature-vector/2",
        ),
        (
            "https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/4",
            "google/mobilenet-v2/tensorFlow2/100-224-feature-vector/1",
        ),
        (
            "https://tfhub.dev/google/imagenet/mobilenet_v2_035_128/feature_vector/2",
            "google/mobilenet-v2/tensorFlow1/035-128-feature-vector/2",
        ),
        (
            "google/imagenet/inception_v3/feature_vector/1",
            "google/inception-v3/tensorFlow1/feature-vector/1",
        ),
        (
            "https://tfhub.dev/google/imagenet/resnet_v2_50/classification/5",
            "google/resnet-v2/tensorFlow2/50-classification/2",
        ),
        (
            "https://tfhub.dev/google/imagenet/efficientnet_v2_imagenet1k_b0/feature_vector/2",
            "google/efficientnet-v2/tensorFlow2/imagenet1k-b0-feature-vector/2",
        ),
        (
            "https://tfhub.dev/google/tf2-preview/mobilenet_v2/feature_vector/4",
            "google/mobilenet-v2/tensorFlow2/tf2-preview-feature-vector/4",
        ),
        (
            "https://tfhub.dev/tensorflow/efficientnet/b0/feature-vector/1",
            "tensorflow/efficientnet/tensorFlow2/b0-feature-vector/1",
        ),
        (
            "https://www.kaggle.com/models/google/mobilenet-v2/frameworks/TensorFlow2/variations/"
            "035-128-classification/versions/2",
            "google/mobilenet-v2/tensorFlow2/035-128-classification/2",
        ),
        (
            "https://www.kaggle.com/models/google/inception-v3/tensorFlow2/classification/2"
            "?tfhub-redirect=true",
            "google/inception-v3/tensorFlow2/classification/2",
        ),
    ],
)
def test_old_addresses_are_mapped_to_where_they_moved(old: str, new: str) -> None:
    wanted = hub_addresses.address(old)

    assert hub_addresses.is_handle(old)
    assert wanted.kaggle == new
    assert wanted.urls[0] == f"https://www.kaggle.com/models/{new}"


def test_unknown_old_address_goes_to_the_old_server() -> None:
    url = "https://tfhub.dev/someone/thing/1"

    assert hub_addresses.address(url).urls == (url,)
    assert hub_addresses.moved("google/imagenet/mobilenet_v2_100_224/feature_vector") == ""


@pytest.mark.parametrize(
    ("kaggle", "side"),
    [
        ("google/mobilenet-v2/tensorFlow2/035-96-feature-vector/2", 96),
        ("google/mobilenet-v3/tensorFlow2/large-100-224-feature-vector/1", 224),
        ("google/inception-v3/tensorFlow2/feature-vector/2", 299),
        ("tensorflow/efficientnet/tensorFlow2/b4-feature-vector/1", 380),
        ("tensorflow/efficientnet/tensorFlow2/lite2-feature-vector/2", 260),
        ("google/efficientnet-v2/tensorFlow2/imagenet21k-ft1k-b3-feature-vector/1", 300),
        ("google/efficientnet-v2/tensorFlow2/imagenet1k-s-feature-vector/2", 384),
        ("google/mobilenet-v2/tensorFlow2/tf2-preview-feature-vector/4", 224),
    ],
)
def test_size_is_told_by_the_handle(kaggle: str, side: int) -> None:
    assert hub_addresses.size_hint(kaggle) == (side, side)


def test_size_of_others_is_not_guessed() -> None:
    assert hub_addresses.size_hint("someone/thing/tensorFlow2/default/1") is None
    assert hub_addresses.size_hint("") is None


def test_other_schemes_are_refused() -> None:
    with pytest.raises(BackboneError, match="only https, http and gs"):
        hub_addresses.address("ftp://example.org/module")
