"""Internal: the loop that resumes coroutines when their waits are over, and its parts."""
