"""Bars of the past: where they are read, checked and lined up for a back-test or for warm-up."""
