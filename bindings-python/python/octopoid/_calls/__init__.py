"""What every method sends and how it reads the answer: written once, for the blocking and for the awaited client."""
