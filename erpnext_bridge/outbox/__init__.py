"""The outbox at work: which writes go when, how each is sent, and what becomes of it."""
