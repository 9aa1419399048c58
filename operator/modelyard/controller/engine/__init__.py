"""Everything in the operator that knows none of our kinds."""
