"""Data, from corpora to batches.

`corpora` makes cuts and shards of Lhotse manifests, `sources` indexes what other toolkits made; `store` has tars
and their index, here or in object stores. `plan` decides who is read when, `load` reads, augments and collates.
"""
