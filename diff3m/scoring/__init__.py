"""From a film and its reconstruction to measurements, a score and regions."""
