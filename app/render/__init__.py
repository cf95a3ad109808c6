"""Results as HTML, figures, pictures and reports: pure functions of their values."""
