"""Where every value lies: one arena, planned once; and what is computed again to need less."""
