// Labels photos on Android with MediaPipe Tasks and an output_graph.tflite that tlcli wrote.
//
//     val labeller = ImageLabeller(context)                        // once, off the main thread
//     val (label, score) = labeller.label(bitmap, rotation).first()

package org.example.labels

import android.content.Context
import android.graphics.Bitmap
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.core.ImageProcessingOptions
import com.google.mediapipe.tasks.vision.core.RunningMode
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifier
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifier.ImageClassifierOptions

class ImageLabeller(context: Context, model: String = "output_graph.tflite") : AutoCloseable {
    private val classifier = ImageClassifier.createFromOptions(
        context,
        ImageClassifierOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath(model).build())
            .setRunningMode(RunningMode.IMAGE)
            .build(),
    )

    /**
     * Labels with their scores, best first. [rotation] in degrees, 0 to 270, makes the photo
     * upright: cameras record it in EXIF, which Android does not apply to bitmaps.
     */
    fun label(bitmap: Bitmap, rotation: Int = 0): List<Pair<String, Float>> {
        val image = BitmapImageBuilder(shrink(bitmap.copy(Bitmap.Config.ARGB_8888, false))).build()
        val options = ImageProcessingOptions.builder().setRotationDegrees(rotation).build()
        val result = classifier.classify(image, options).classificationResult()
        return result.classifications().first().categories()
            .map { it.categoryName() to it.score() }
            .sortedByDescending { it.second }
    }

    /** By halves, nearly to the network's size: MediaPipe itself looks at four pixels only. */
    private fun shrink(bitmap: Bitmap, side: Int = 224): Bitmap {
        var image = bitmap
        while (image.width >= 2 * side && image.height >= 2 * side) {
            image = Bitmap.createScaledBitmap(image, image.width / 2, image.height / 2, true)
        }
        return image
    }

    override fun close() = classifier.close()
}
