"""A trained network outside of training: prediction and export."""
