"""The folder for a Space: whole, pinned, and its app builds from that folder alone."""

import importlib.util
import re
import subprocess
import sys

import gradio
import pytest
import yaml
from helpers import ROOT

spec = importlib.util.spec_from_file_location("make_space", ROOT / "tools" / "make_space.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


@pytest.mark.slow
def test_the_space_is_whole_and_its_app_builds(tmp_path):
    out = tool.make_space(tmp_path / "space")
    front_matter = tool.front_matter("someone/space", ["someone/model"])
    assert front_matter["models"] == ["someone/model"] and "someone/space" in front_matter["thumbnail"]
    head = yaml.safe_load((out / "README.md").read_text().split("---\n")[1])
    assert head["sdk_version"] == gradio.__version__ == tool.pinned_gradio()
    assert (out / head["app_file"]).is_file() and len(head["short_description"]) <= 60
    assert {path.parent.name for path in out.glob("checkpoints/*/model.safetensors")} == {"real-films", "phantoms"}
    assert not list(out.rglob("__pycache__")) and len(head["tags"]) >= 3
    links = [
        (page, target)
        for page in out.rglob("*.md")
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text())
        if not re.match(r"[a-z]+:", target)
    ]
    assert len(links) >= 4 and not [link for link in links if not (link[0].parent / link[1]).exists()]
    names = re.findall(r"`([\w./-]+)`", (out / "README.md").read_text())
    assert not [name for name in names if not (out / name).exists()], "its README names only what is in it"
    requirements = (out / "requirements.txt").read_text()
    assert "highdicom" in requirements and not [name for name in tool.TRAINING_ONLY if name in requirements]
    absent = "".join(f"sys.modules[{name!r}] = None; " for name in tool.TRAINING_ONLY)
    code = f"{absent}import app.demo, diff3m; app.demo.build_demo(); print(diff3m.__file__)"
    ran = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, '.'); {code}"],
        cwd=out,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert str(out) in ran.stdout  # not the installed one
