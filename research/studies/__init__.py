"""What is done with many runs: statistics, tables, figures and the report. No training code, no jax."""
