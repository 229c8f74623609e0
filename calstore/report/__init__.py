"""What is told of a store to machines: the documents that ``schemas/`` describes."""
