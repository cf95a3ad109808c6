// Grey PNG files of 8 or 16 bits as whole numbers. An <img> cuts 16 bits to 8; here every bit of the file arrives.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const UNSUPPORTED = "This picture cannot be shown: the viewer reads plain grey PNG files of 8 or 16 bits.";

/**
 * An address → {width, height, maximum, data: Uint16Array, levels}: row by row, with its halved copies for small
 * zooms.
 */
export async function loadGrey(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`A picture could not be loaded (${response.status}). Load the film again.`);
  const image = await decodeGrey(await response.arrayBuffer());
  return { ...image, levels: pyramid(image) };
}

/** The bytes of a PNG file → {width, height, maximum: 255 or 65535, data: Uint16Array}. */
export async function decodeGrey(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < 33 || SIGNATURE.some((byte, index) => view.getUint8(index) !== byte))
    throw new Error(UNSUPPORTED);
  const parts = [];
  let header = null;
  for (let at = 8; at + 12 <= buffer.byteLength;) {
    const length = view.getUint32(at);
    const name = String.fromCharCode(...new Uint8Array(buffer, at + 4, 4));
    if (name === "IHDR") {
      header = { width: view.getUint32(at + 8), height: view.getUint32(at + 12), bits: view.getUint8(at + 16) };
      const [color, , , interlaced] = new Uint8Array(buffer, at + 17, 4);
      if (color !== 0 || interlaced || ![8, 16].includes(header.bits)) throw new Error(UNSUPPORTED);
    }
    if (name === "IDAT") parts.push(new Uint8Array(buffer, at + 8, length));
    at += 12 + length;
  }
  const { width, height, bits } = header;
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const rows = unfilter(new Uint8Array(await new Response(stream).arrayBuffer()), width * (bits / 8), height, bits / 8);
  const data = new Uint16Array(width * height);
  if (bits === 8) data.set(rows);
  else for (let index = 0; index < data.length; index++) data[index] = (rows[2 * index] << 8) | rows[2 * index + 1];
  return { width, height, data, maximum: 2 ** bits - 1 };
}

/** Undo the filter of each row (PNG specification, section 9). stride: bytes of a row; pixel: bytes of a pixel. */
function unfilter(bytes, stride, height, pixel) {
  const out = new Uint8Array(stride * height);
  for (let row = 0; row < height; row++) {
    const kind = bytes[row * (stride + 1)];
    const from = row * (stride + 1) + 1;
    const to = row * stride;
    for (let index = 0; index < stride; index++) {
      const left = index < pixel ? 0 : out[to + index - pixel];
      const above = row ? out[to + index - stride] : 0;
      let guess = 0;
      if (kind === 1) guess = left;
      else if (kind === 2) guess = above;
      else if (kind === 3) guess = (left + above) >> 1;
      else if (kind === 4) guess = paeth(left, above, row && index >= pixel ? out[to + index - stride - pixel] : 0);
      out[to + index] = bytes[from + index] + guess;
    }
  }
  return out;
}

function paeth(left, above, corner) {
  const guess = left + above - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - above), Math.abs(guess - corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? above : corner;
}

/** The picture and its copies at half the size each, means of 2×2 pixels, until both sides are under 256. */
function pyramid({ width, height, data }) {
  const levels = [{ width, height, data }];
  for (let last = levels[0]; Math.max(last.width, last.height) >= 256 && Math.min(last.width, last.height) > 1;) {
    const half = { width: last.width >> 1, height: last.height >> 1 };
    half.data = new Uint16Array(half.width * half.height);
    for (let row = 0, index = 0; row < half.height; row++) {
      for (let column = 0, at = 2 * row * last.width; column < half.width; column++, at += 2) {
        const below = at + last.width;
        half.data[index++] = (last.data[at] + last.data[at + 1] + last.data[below] + last.data[below + 1] + 2) >> 2;
      }
    }
    levels.push(half);
    last = half;
  }
  return levels;
}

/**
 * The smallest copy of a picture that still has a pixel for each pixel of the screen. scale: screen pixels per film
 * pixel.
 */
export const levelFor = (image, scale) =>
  Math.max(0, Math.min(image.levels.length - 1, Math.floor(Math.log2(1 / scale) + 0.01)));
