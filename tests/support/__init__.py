"""Helpers of the tests: imported as `support.…`, never shipped."""
