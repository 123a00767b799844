"""Packed images, and the layers that read and write them, against Keras's on plain images."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from draws import draw

from clion_tf.models.decoder import ImageNormal, LastDeconvolution
from clion_tf.models.encoder import FirstConvolution, LastConvolution, pack, unpack


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_channels_are_the_pixels_of_a_block_row_by_row(lead):
    image = draw(*lead, 4, 6, 3)
    packed = pack(image).numpy()
    assert packed.shape == (*lead, 2, 3, 12)
    for p in (0, 1):
        for q in (0, 1):
            for c in range(3):
                expected = image[..., p::2, q::2, c]
                np.testing.assert_array_equal(packed[..., (2 * p + q) * 3 + c], expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_unpack_is_the_inverse(dtype):
    image = (50 * np.abs(draw(2, 3, 8, 4, 3))).astype(dtype)
    again = unpack(pack(image)).numpy()
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, image)
    packed = draw(2, 3, 5, 4, 12)
    np.testing.assert_array_equal(pack(unpack(packed)), packed)


def same(x):
    return x


# Our layer, Keras's, our view of the input and of the output, shapes of both as Keras sees them.
LAYERS = {
    "first convolution": (
        FirstConvolution(5, 4, 2, activation=tf.nn.elu),
        keras.layers.Conv2D(5, 4, 2, activation="elu"),
        (same, same),
        ((64, 64, 3), (31, 31, 5)),
    ),
    "last convolution": (
        LastConvolution(5, 4, 2, activation=tf.nn.elu),
        keras.layers.Conv2D(5, 4, 2, activation="elu"),
        (same, same),
        ((6, 6, 4), (2, 2, 5)),
    ),
    "last deconvolution": (
        LastDeconvolution(3, 6, 2),
        keras.layers.Conv2DTranspose(3, 6, 2),
        (same, unpack),
        ((30, 30, 4), (64, 64, 3)),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_is_kerass_in_values_and_gradients(name):
    ours, kerass, (before, after), (shape, out_shape) = LAYERS[name]
    x, factor = tf.constant(draw(2, *shape)), draw(2, *out_shape, seed=1)

    def run(layer, before, after):
        with tf.GradientTape() as tape:
            tape.watch(x)
            output = after(layer(before(x)))
            loss = tf.reduce_sum(factor * output)
        weights = [variable.value for variable in layer.trainable_variables]
        return [output, *tape.gradient(loss, [x, *weights])]

    ours.build((None, *before(x).shape[1:]))
    kerass.build((None, *shape))
    weights = [draw(*v.shape, seed=i) for i, v in enumerate(kerass.trainable_variables, 2)]
    for layer in (ours, kerass):
        layer.set_weights(weights)  # Of the same shapes, or it raises.
    found, expected = run(ours, before, after), run(kerass, same, same)
    assert found[0].shape == (2, *out_shape) and len(found) == len(expected) == 4
    assert ours.compute_output_shape(before(x).shape) == ours(before(x)).shape
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * np.max(np.abs(other)))


def test_a_decoders_images_are_ordinary_ones():
    """Mode, event, and distances from images and from another's means."""
    image, other = (tf.constant(draw(2, 3, 4, 6, 3, seed=seed)) for seed in (1, 2))
    dist = ImageNormal(pack(image))
    assert dist.batch_shape == (2, 3) and dist.event_shape == (4, 6, 3)
    np.testing.assert_array_equal(dist.mode(), image)
    expected = np.sum((image - other).numpy() ** 2, (2, 3, 4))
    for found in (other, ImageNormal(pack(other))):
        np.testing.assert_allclose(dist.squared_distance(found), expected, rtol=1e-5)
