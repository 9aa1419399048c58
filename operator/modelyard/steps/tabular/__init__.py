"""Built-in steps for tables, `tabular/prepare@v1` and `tabular/train@v1`, on the SDK like anyone's code."""
