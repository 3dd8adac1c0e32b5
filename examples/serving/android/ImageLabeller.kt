// Labels images on Android with a LiteRT file that `tlcli retrain` wrote.
//
// In app/build.gradle.kts:   implementation("com.google.ai.edge.litert:litert:1.4.0")
// In app/src/main/assets/:   output_graph.tflite and output_graph.json, its model card
//
//     val labeller = ImageLabeller(context)               // once, off the main thread
//     val (label, score) = labeller.label(bitmap).first()

package org.example.labels

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.json.JSONObject
import org.tensorflow.lite.Interpreter

class ImageLabeller(context: Context, name: String = "output_graph") : AutoCloseable {
    private val labels: List<String>
    private val height: Int
    private val width: Int
    private val interpreter: Interpreter
    private val input: ByteBuffer

    init {
        val card = JSONObject(context.assets.open("$name.json").bufferedReader().readText())
        labels = card.getJSONArray("labels").let { all -> List(all.length()) { all.getString(it) } }
        height = card.getJSONObject("input").getInt("height")
        width = card.getJSONObject("input").getInt("width")
        val model = context.assets.open("$name.tflite").readBytes()
        interpreter = Interpreter(
            ByteBuffer.allocateDirect(model.size).order(ByteOrder.nativeOrder()).put(model),
            Interpreter.Options().setNumThreads(4),
        )
        input = ByteBuffer.allocateDirect(4 * height * width * 3).order(ByteOrder.nativeOrder())
    }

    /** Labels with their scores, best first. The bitmap must be upright: apply EXIF first. */
    fun label(bitmap: Bitmap): List<Pair<String, Float>> {
        val pixels = IntArray(height * width)
        shrink(bitmap).getPixels(pixels, 0, width, 0, 0, width, height)
        input.rewind()
        for (pixel in pixels) { // red first, each in [0, 1]; the graph scales further
            input.putFloat(Color.red(pixel) / 255f)
            input.putFloat(Color.green(pixel) / 255f)
            input.putFloat(Color.blue(pixel) / 255f)
        }
        input.rewind()
        val scores = Array(1) { FloatArray(labels.size) }
        interpreter.run(input, scores)
        return labels.zip(scores[0].toList()).sortedByDescending { it.second }
    }

    /**
     * Stretches to the network's size without cropping. By halves first: Android's own filter looks
     * at four pixels only, and a photo shrunk tenfold at once would be all noise.
     */
    private fun shrink(bitmap: Bitmap): Bitmap {
        var image = Bitmap.createBitmap(bitmap.width, bitmap.height, Bitmap.Config.ARGB_8888)
        Canvas(image).apply {
            drawColor(Color.WHITE) // below transparent parts
            drawBitmap(bitmap.copy(Bitmap.Config.ARGB_8888, false), 0f, 0f, null)
        }
        while (image.width >= 2 * width && image.height >= 2 * height) {
            image = Bitmap.createScaledBitmap(image, image.width / 2, image.height / 2, true)
        }
        return Bitmap.createScaledBitmap(image, width, height, true)
    }

    override fun close() = interpreter.close()
}
