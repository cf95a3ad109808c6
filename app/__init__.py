"""The Gradio app. It imports diff3m, and diff3m never imports it."""
