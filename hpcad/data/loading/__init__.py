"""The batches of a rank, read ahead in threads, into memory that is used again."""
