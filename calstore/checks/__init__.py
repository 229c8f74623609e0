"""What is odd about constants, judged by rules on their values; no store is known here."""
