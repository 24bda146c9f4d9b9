"""Who waits: the loop that resumes coroutines when what they wait for has come, and what it is made of."""
