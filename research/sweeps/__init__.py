"""Many runs: planned, run by a worker process, several as one program, and tuned."""
