// The pixels of a picture as `tlcli label` computes them: upright, over white, stretched.

/** Returns an ImageData of the network's size. */
export async function pixels(file, height, width) {
  // Upright by EXIF; the numbers of the file, whatever its colour profile.
  const image = await createImageBitmap(file, {colorSpaceConversion: "none"});
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.fillStyle = "white";
  context.fillRect(0, 0, image.width, image.height);
  context.drawImage(image, 0, 0);
  const {data} = context.getImageData(0, 0, image.width, image.height);
  const rows = shrink(data, image.height, image.width, width);
  return new ImageData(turn(shrink(turn(rows, image.height, width), width, image.height, height),
                            width, height), width, height);
}

// Resizes rows to `width` by a triangle filter over all pixels. A canvas looks at too few when it
// shrinks a photo, and scores change by up to 0.2.
function shrink(data, rows, from, width) {
  const scale = from / width;
  const reach = Math.max(scale, 1);
  const out = new Uint8ClampedArray(rows * width * 4).fill(255);
  for (let x = 0; x < width; x++) {
    const centre = (x + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - reach + 0.5));
    const last = Math.min(from, Math.floor(centre + reach + 0.5));
    const weights = [];
    for (let each = first; each < last; each++) {
      weights.push(Math.max(0, 1 - Math.abs(each + 0.5 - centre) / reach));
    }
    const sum = weights.reduce((a, b) => a + b);
    for (let y = 0; y < rows; y++) {
      for (let channel = 0; channel < 3; channel++) {
        let value = 0;
        for (let each = 0; each < weights.length; each++) {
          value += weights[each] * data[(y * from + first + each) * 4 + channel];
        }
        out[(y * width + x) * 4 + channel] = Math.floor(value / sum + 0.5);
      }
    }
  }
  return out;
}

// Exchanges rows and columns.
function turn(data, rows, columns) {
  const from = new Uint32Array(data.buffer);
  const out = new Uint32Array(from.length);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      out[x * rows + y] = from[y * columns + x];
    }
  }
  return new Uint8ClampedArray(out.buffer);
}
