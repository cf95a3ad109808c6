"""Phantoms rendered a second on one core: median over rounds of 20 people, each with their own anatomy.

python benchmarks/phantom_rate.py [--rounds 7]
"""

from __future__ import annotations

import argparse
import statistics
import time

import cv2

from diff3m.data.phantom import make_person


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    for size in (128, 256):
        for name, lesion in (("normal", None), ("with lesion and mask", "any")):
            rates = []
            for turn in range(options.rounds):
                people = [make_person(20 * turn + index, lesion) for index in range(20)]
                start = time.process_time()
                for person in people:
                    person.render(size)
                rates.append(len(people) / (time.process_time() - start))
            print(f"{size:>4} pixels, {name:<22} {statistics.median(rates):.0f} a second of one core")


if __name__ == "__main__":
    main()
