"""Pictures of the report: data in, PNG bytes out."""
