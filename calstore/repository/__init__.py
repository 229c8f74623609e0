"""The verbs that join the parts: one file each, and the nouns that they take and give."""
