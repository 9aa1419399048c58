"""The report on a version: from what was judged to one HTML page. Pure."""
