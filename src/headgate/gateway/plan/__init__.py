"""Objects → what is to be served (`gateway/ir.py`), in the Gateway API's words, and what is wrong."""
