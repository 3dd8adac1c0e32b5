// Labels pictures with output_graph.onnx in the browser; nothing is sent anywhere.
"use strict";

async function load() {
  const card = await (await fetch("output_graph.json")).json();
  const session = await ort.InferenceSession.create("output_graph.onnx");
  return {card, session};
}

// The picture as the network expects it: upright, over white, stretched, float32 in [0, 1].
async function pixels(file, height, width) {
  let image = await createImageBitmap(file); // rotated upright according to EXIF
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", {willReadFrequently: true});
  // In steps of a half: the canvas samples few pixels when it shrinks a photo strongly.
  let w = image.width, h = image.height;
  for (;;) {
    const last = w < 2 * width || h < 2 * height;
    w = last ? width : Math.floor(w / 2);
    h = last ? height : Math.floor(h / 2);
    canvas.width = w;
    canvas.height = h;
    context.fillStyle = "white";
    context.fillRect(0, 0, w, h);
    context.drawImage(image, 0, 0, w, h);
    if (last) {
      break;
    }
    image = await createImageBitmap(canvas);
  }
  const rgba = context.getImageData(0, 0, width, height).data;
  const values = new Float32Array(height * width * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    values[to++] = rgba[from] / 255;
    values[to++] = rgba[from + 1] / 255;
    values[to++] = rgba[from + 2] / 255;
  }
  return values;
}

async function label({card, session}, file) {
  const {height, width} = card.input;
  const tensor = new ort.Tensor("float32", await pixels(file, height, width),
                                [1, height, width, 3]);
  const answer = await session.run({[session.inputNames[0]]: tensor});
  const scores = answer[session.outputNames[0]].data;
  return card.labels.map((name, index) => [name, scores[index]]).sort((a, b) => b[1] - a[1]);
}

const message = document.getElementById("status");
const ready = load();
ready.then(() => { message.textContent = "Ready"; },
           (error) => { message.textContent = "Cannot load the network: " + error.message; });

document.getElementById("file").addEventListener("change", async (event) => {
  try {
    const scores = await label(await ready, event.target.files[0]);
    document.getElementById("scores").replaceChildren(...scores.slice(0, 5).map(([name, score]) => {
      const item = document.createElement("li");
      item.textContent = name + " " + (score * 100).toFixed(1) + "%";
      return item;
    }));
    message.textContent = scores[0][0];
  } catch (error) {
    message.textContent = "Cannot label it: " + error.message;
  }
});
