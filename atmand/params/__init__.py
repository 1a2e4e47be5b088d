"""The parameter store: documents that say with which values the strategies trade, and the last one known to be good."""
