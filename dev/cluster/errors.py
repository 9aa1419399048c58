class ClusterError(Exception):
    """Something that a person has to know or do; the message says what."""
