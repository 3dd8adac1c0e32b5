// Labels images with a graph that tlcli wrote: output_graph.pb, .tflite, .onnx or .xml.
// README.md has the command that compiles it.

#include <algorithm>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include <opencv2/imgcodecs.hpp>
#include <openvino/openvino.hpp>

// Takes photos of any size, 0 to 255, blue first as OpenCV reads them. The graph takes RGB in
// [0, 1]. Resized as in Pillow, which tlcli follows.
ov::CompiledModel load(ov::Core& core, const std::string& path) {
  ov::preprocess::PrePostProcessor steps(core.read_model(path));
  auto& input = steps.input();
  input.tensor()
      .set_element_type(ov::element::u8)
      .set_layout("NHWC")
      .set_color_format(ov::preprocess::ColorFormat::BGR)
      .set_spatial_dynamic_shape();
  input.model().set_layout("NHWC");
  input.preprocess()
      .convert_color(ov::preprocess::ColorFormat::RGB)
      .resize(ov::preprocess::ResizeAlgorithm::RESIZE_BILINEAR_PILLOW)
      .convert_element_type(ov::element::f32)
      .scale(255);
  // Some processors would use bfloat16, which is faster and less exact.
  return core.compile_model(steps.build(), "CPU",
                            ov::hint::inference_precision(ov::element::f32));
}

int main(int count, char** arguments) {
  if (count < 4) {
    std::cerr << "usage: " << arguments[0] << " GRAPH LABELS IMAGE ...\n";
    return 2;
  }
  std::vector<std::string> labels;
  std::ifstream file(arguments[2]);
  for (std::string line; std::getline(file, line);) labels.push_back(line);

  try {
    ov::Core core;
    ov::InferRequest request = load(core, arguments[1]).create_infer_request();
    for (int number = 3; number < count; ++number) {
      const cv::Mat photo = cv::imread(arguments[number]);  // upright by EXIF
      if (photo.empty()) {
        std::cerr << arguments[number] << ": not an image\n";
        continue;
      }
      const ov::Shape shape{1, size_t(photo.rows), size_t(photo.cols), 3};
      request.set_input_tensor(ov::Tensor(ov::element::u8, shape, photo.data));
      request.infer();
      const float* scores = request.get_output_tensor(0).data<float>();
      const auto best = std::max_element(scores, scores + labels.size()) - scores;
      std::cout << arguments[number] << ": " << labels[best] << " (" << scores[best] << ")\n";
    }
  } catch (const ov::Exception& error) {
    std::cerr << arguments[1] << ": " << error.what() << "\n";
    return 1;
  }
}
