"""`cumel extract`: recordings into a store, by this machine or by a Ray cluster."""
