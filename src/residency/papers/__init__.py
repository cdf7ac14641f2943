"""Papers, one file each: printed numbers and the runs beside them (`residency reproduce`)."""
