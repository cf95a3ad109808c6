"""The tabs of the page, one module each with its handlers."""
