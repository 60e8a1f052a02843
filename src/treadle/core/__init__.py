"""The nouns, the pure rules and the verbs of the fabric; it imports nothing of ours outside this room."""
