// Labels photos on iOS with MediaPipe Tasks and an output_graph.tflite that tlcli wrote.
//
//     let labeller = try ImageLabeller()                     // once
//     let best = try labeller.label(photo).first             // off the main thread

import MediaPipeTasksVision
import UIKit

final class ImageLabeller {
  private let classifier: ImageClassifier
  private let side: CGSize

  /// - Parameters:
  ///   - model: name of the LiteRT file in the bundle, without its ending.
  ///   - side: width and height of the network's input.
  init(model: String = "output_graph", side: CGSize = CGSize(width: 224, height: 224)) throws {
    guard let path = Bundle.main.path(forResource: model, ofType: "tflite") else {
      throw CocoaError(.fileNoSuchFile)
    }
    let options = ImageClassifierOptions()
    options.baseOptions.modelAssetPath = path
    options.runningMode = .image
    classifier = try ImageClassifier(options: options)
    self.side = side
  }

  /// Returns the labels with their scores, best first.
  func label(_ photo: UIImage) throws -> [(label: String, score: Float)] {
    let result = try classifier.classify(image: MPImage(uiImage: shrunk(photo)))
    return result.classificationResult.classifications[0].categories
      .map { ($0.categoryName ?? "", $0.score) }
      .sorted { $0.score > $1.score }
  }

  /// Upright, stretched to the network's size: MediaPipe itself looks at four pixels only.
  private func shrunk(_ photo: UIImage) -> UIImage {
    let format = UIGraphicsImageRendererFormat()
    format.scale = 1
    return UIGraphicsImageRenderer(size: side, format: format).image { context in
      context.cgContext.interpolationQuality = .high
      photo.draw(in: CGRect(origin: .zero, size: side))
    }
  }
}
