"""Many runs: a sweep runs them in a worker process, several as one program, and with tuning and stages."""
