"""The folder for a Space: whole, pinned, and its app builds from that folder alone."""

import importlib.util
import subprocess
import sys

import gradio
import yaml
from helpers import ROOT

spec = importlib.util.spec_from_file_location("make_space", ROOT / "tools" / "make_space.py")
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def test_the_space_is_whole_and_its_app_builds(tmp_path):
    out = tool.make_space(tmp_path / "space")
    head = yaml.safe_load((out / "README.md").read_text().split("---\n")[1])
    assert head["sdk_version"] == gradio.__version__ == tool.pinned_gradio()
    assert (out / head["app_file"]).is_file() and len(head["short_description"]) <= 60
    assert {path.parent.name for path in out.glob("checkpoints/*/model.safetensors")} == {"real-films", "phantoms"}
    assert not list(out.rglob("__pycache__"))
    code = "import app.demo, diff3m; app.demo.build_demo(); print(diff3m.__file__)"
    ran = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, '.'); {code}"],
        cwd=out,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert str(out) in ran.stdout  # not the installed one
