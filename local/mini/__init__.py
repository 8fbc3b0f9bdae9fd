"""The embedded synthetic corpus: texts, voices, prosody, vocal events and their rendering."""
