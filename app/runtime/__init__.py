"""What a server needs around the page: the model's lock, streaming, stored files, GPU."""
