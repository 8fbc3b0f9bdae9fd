"""Lists of labelled recordings (JSON lines, CSV, TSV) as Lhotse manifests."""
