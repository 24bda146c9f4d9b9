"""What is wire's alone: where it keeps its files, what they say, and when that changes."""
