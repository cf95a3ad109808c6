"""From a film to a figure: python examples/minimal.py [FILM] [FIGURE.png]. The default film is synthetic."""

import sys
from pathlib import Path

from matplotlib.figure import Figure

from diff3m import Detector, read_radiograph
from diff3m.analysis import format_percentile

EXAMPLE = Path(__file__).parents[1] / "assets" / "examples" / "opacity-pa-man.png"
film_path = sys.argv[1] if len(sys.argv) > 1 else EXAMPLE
figure_path = sys.argv[2] if len(sys.argv) > 2 else "minimal.png"

detector = Detector.from_pretrained("real-films")  # a shipped name, a folder or a Hub id
film = read_radiograph(film_path)  # DICOM, PNG, JPEG, WebP or TIFF
record = {"age": 61, "sex": "M", "view": "PA"}  # leave out what is not known
analysis = detector.analyze(film, record)

percentile = format_percentile(analysis.percentile, analysis.normals)
print(f"score {analysis.score:.2f}, percentile {percentile} of {analysis.normals} normal films")
for note in analysis.notes:
    print("note:", note)

figure = Figure(figsize=(9, 3.4), layout="constrained")
film_axes, normal_axes, difference_axes = figure.subplots(1, 3)
film_axes.imshow(analysis.film, cmap="gray", vmin=0, vmax=1)
normal_axes.imshow(analysis.reconstruction, cmap="gray", vmin=0, vmax=1)
difference_axes.imshow(analysis.heat_map, cmap="RdBu_r", vmin=-0.2, vmax=0.2)
for axes, title in zip(figure.axes, ("film", "normal for this patient", "difference"), strict=True):
    axes.set(title=title, xticks=[], yticks=[])
figure.savefig(figure_path)
