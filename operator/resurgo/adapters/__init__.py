"""Speaking to one outside system each."""
