"""What a person sees: the Gradio app. Imports diff3m; never the other way round."""
