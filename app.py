"""Entry of the app, here and on Spaces: builds the page and serves it."""

from app.demo import build_demo, launch

demo = build_demo()

if __name__ == "__main__":
    launch(demo)
