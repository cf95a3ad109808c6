// Drawing in WebGL2: the film keeps its 16 bits on the graphics card, and the window is applied for each pixel of the
// screen.

import { CanvasRenderer } from "./canvas.js";
import { levelFor } from "./png.js";

const VERTEX = `#version 300 es
void main() { gl_Position = vec4(gl_VertexID == 1 ? 3. : -1., gl_VertexID == 2 ? 3. : -1., 0., 1.); }`;

const FRAGMENT = `#version 300 es
precision highp float; precision highp int; precision highp usampler2D;
uniform usampler2D film; uniform sampler2D map; uniform sampler2D table;
uniform vec2 origin, size, range; uniform vec4 box;
uniform float canvasHeight, scale, maximum, threshold, full, opacity;
uniform int level, mode; uniform bool inverted;
out vec4 color;

float grey(vec2 place) {
  ivec2 sides = textureSize(film, level);
  vec2 at = place * vec2(sides) - .5;
  vec2 part = fract(at);
  ivec2 a = clamp(ivec2(floor(at)), ivec2(0), sides - 1), b = clamp(ivec2(floor(at)) + 1, ivec2(0), sides - 1);
  vec2 upper = vec2(texelFetch(film, a, level).r, texelFetch(film, ivec2(b.x, a.y), level).r);
  vec2 lower = vec2(texelFetch(film, ivec2(a.x, b.y), level).r, texelFetch(film, b, level).r);
  vec2 rows = mix(upper, lower, part.y);
  return mix(rows.x, rows.y, part.x) / maximum;
}

void main() {
  vec2 place = (vec2(gl_FragCoord.x, canvasHeight - gl_FragCoord.y) - origin) / scale / size;
  color = vec4(0., 0., 0., 1.);
  if (any(lessThan(place, vec2(0.))) || any(greaterThanEqual(place, vec2(1.)))) return;
  float value = clamp((grey(place) - range.x) / max(range.y - range.x, 1e-6), 0., 1.);
  vec3 shade = vec3(inverted ? 1. - value : value);
  if (mode > 0) {
    vec2 at = (place - box.yx) / (box.wz - box.yx);
    if (all(greaterThanEqual(at, vec2(0.))) && all(lessThanEqual(at, vec2(1.)))) {
      float difference = texture(map, at).r;
      float strength = clamp(4. * (abs(difference) - threshold) / max(full - threshold, 1e-6), 0., 1.);
      float share = clamp(difference / full, -1., 1.);
      float entry = mode == 1 ? .5 + .5 * share : abs(share);
      shade = mix(shade, texture(table, vec2(entry * 255. / 256. + .5 / 256., .5)).rgb, opacity * strength);
    }
  }
  color = vec4(shade, 1.);
}`;

/**
 * The renderer that suits this computer: WebGL2 where a graphics card draws it, otherwise the canvas, which is several
 * times as fast as WebGL2 in software. wanted: "webgl2" or "canvas" to choose by name. Both draw the same tiles.
 */
export function createRenderer(canvas, onRestored, wanted = hasGraphicsCard() ? "webgl2" : "canvas") {
  const gl = wanted === "webgl2" && canvas.getContext("webgl2", { alpha: false, antialias: false });
  return gl ? new WebGLRenderer(canvas, gl, onRestored) : new CanvasRenderer(canvas);
}

function hasGraphicsCard() {
  const gl = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  if (!gl) return false;
  const names = gl.getExtension("WEBGL_debug_renderer_info");
  const name = gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

class WebGLRenderer {
  constructor(canvas, gl, onRestored) {
    Object.assign(this, { canvas, gl, name: "webgl2" });
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.prepare();
      onRestored();
    });
    this.prepare();
  }

  prepare() {
    const gl = this.gl;
    this.textures = new Map();
    this.program = gl.createProgram();
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(gl.getProgramInfoLog(this.program));
    }
    gl.useProgram(this.program);
    this.places = new Proxy({}, { get: (known, name) => (known[name] ??= gl.getUniformLocation(this.program, name)) });
    gl.uniform1i(this.places.film, 0);
    gl.uniform1i(this.places.map, 1);
    gl.uniform1i(this.places.table, 2);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.bindVertexArray(gl.createVertexArray());
    this.empty = { fine: { width: 1, height: 1, data: new Float32Array(1) } };
  }

  /** The texture of a film, a map or a color table, uploaded at its first use. */
  texture(unit, source, upload) {
    const gl = this.gl;
    gl.activeTexture(gl.TEXTURE0 + unit);
    let entry = this.textures.get(source);
    if (!entry) {
      entry = { texture: gl.createTexture(), skipped: 0 };
      this.textures.set(source, entry);
      gl.bindTexture(gl.TEXTURE_2D, entry.texture);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
      upload(entry);
    }
    gl.bindTexture(gl.TEXTURE_2D, entry.texture);
    return entry;
  }

  uploadFilm(image, entry) {
    const gl = this.gl;
    const largest = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    entry.skipped = image.levels.findIndex(({ width, height }) => Math.max(width, height) <= largest);
    const levels = image.levels.slice(entry.skipped);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST_MIPMAP_NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAX_LEVEL, levels.length - 1);
    levels.forEach(({ width, height, data }, level) =>
      gl.texImage2D(gl.TEXTURE_2D, level, gl.R16UI, width, height, 0, gl.RED_INTEGER, gl.UNSIGNED_SHORT, data),
    );
  }

  uploadLinear(internal, format, type, width, height, data) {
    const gl = this.gl;
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.LINEAR);
    gl.texImage2D(gl.TEXTURE_2D, 0, internal, width, height, 0, format, type, data);
  }

  /**
   * tiles: [{image, map, clip: {x, y, width, height}, origin: {x, y}, scale}] in pixels of the canvas; look: see
   * View.look.
   */
  draw(tiles, look) {
    const { gl, places, canvas } = this;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.disable(gl.SCISSOR_TEST);
    gl.clearColor(0, 0, 0, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.SCISSOR_TEST);
    gl.uniform1f(places.canvasHeight, canvas.height);
    gl.uniform2f(places.range, look.low, look.high);
    gl.uniform1i(places.inverted, look.inverted ? 1 : 0);
    gl.uniform1f(places.opacity, look.opacity);
    this.texture(2, look.table, () => this.uploadLinear(gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, 256, 1, look.table));
    for (const { image, map, clip, origin, scale } of tiles) {
      const entry = this.texture(0, image, (fresh) => this.uploadFilm(image, fresh));
      const { fine } = map ?? this.empty;
      this.texture(1, fine, () => this.uploadLinear(gl.R16F, gl.RED, gl.FLOAT, fine.width, fine.height, fine.data));
      gl.scissor(clip.x, canvas.height - clip.y - clip.height, clip.width, clip.height);
      gl.uniform2f(places.origin, origin.x, origin.y);
      gl.uniform2f(places.size, image.width, image.height);
      gl.uniform1f(places.scale, scale);
      gl.uniform1f(places.maximum, image.maximum);
      gl.uniform1i(places.level, Math.max(0, levelFor(image, scale) - entry.skipped));
      gl.uniform1i(places.mode, map ? (look.signed ? 1 : 2) : 0);
      if (map) {
        gl.uniform4f(places.box, ...map.box);
        gl.uniform1f(places.threshold, look.threshold);
        gl.uniform1f(places.full, look.full);
      }
      gl.drawArrays(gl.TRIANGLES, 0, 3);
    }
  }

  /** Free the memory of everything that is not in a set of films, maps and color tables. */
  retain(sources) {
    for (const [source, { texture }] of this.textures) {
      if (sources.has(source)) continue;
      this.gl.deleteTexture(texture);
      this.textures.delete(source);
    }
  }
}
