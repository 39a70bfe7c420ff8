"""What the governor costs: its ledger, its calls and its import, each against a yardstick of the same run.

Run them with `make bench`; `make bench ARGS=--help` tells the options. Nothing here asserts a time.
"""
