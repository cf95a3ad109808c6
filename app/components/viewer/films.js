// From a value's films to pictures in memory. Each file is fetched once for as long as a value needs it.

import { toMap } from "./maps.js";
import { loadGrey } from "./png.js";

const address = (file) => new URL(typeof file === "string" ? file : file.url, document.baseURI).href;
const DEFAULTS = { name: "Film", normal_name: "Normal", tags: [], findings: [], spacing_mm: null };

export class FilmStore {
  constructor() {
    this.pictures = new Map();
    this.newest = null; // keys of the files that the newest value needs
  }

  /**
   * The films of a value: [{...description, image, normal, maps, width, height, hasNormal}]. The same file gives the
   * same picture again.
   */
  async read(films) {
    const needed = (this.newest = new Set());
    const once = (file, detail, make) => {
      const key = `${address(file)} ${JSON.stringify(detail)}`;
      needed.add(key);
      if (!this.pictures.has(key)) this.pictures.set(key, loadGrey(address(file)).then(make));
      return this.pictures.get(key);
    };
    try {
      return await Promise.all(
        films.map(async (film) => {
          const maximum = film.maximum ?? null;
          const [image, normal, ...maps] = await Promise.all([
            once(film.film, maximum, (picture) => (maximum ? { ...picture, maximum } : picture)),
            film.normal ? once(film.normal, null, (picture) => picture) : null,
            ...(film.maps ?? []).map((map) => once(map.file, { ...map, file: null }, (picture) => toMap(picture, map))),
          ]);
          return {
            ...DEFAULTS,
            ...film,
            image,
            normal,
            maps,
            width: image.width,
            height: image.height,
            hasNormal: Boolean(normal),
          };
        }),
      );
    } catch (error) {
      if (needed === this.newest) this.pictures.clear(); // what failed is asked for again
      throw error;
    } finally {
      for (const key of this.pictures.keys()) if (!this.newest.has(key)) this.pictures.delete(key);
    }
  }
}
