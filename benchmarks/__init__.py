"""Speed and memory of this project beside what people would use instead, measured in one run."""
