"""What only the weights and the inference of the authors' released code need."""
